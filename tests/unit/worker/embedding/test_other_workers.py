"""H2: a text that another worker embeds is awaited, and is embedded here once that worker is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest

from penstock.bus.clock import loop_now_s
from services.worker.embedding.other_workers import OtherWorkers
from services.worker.embedding.request import Text
from services.worker.embedding.vector_claims import EXPIRES_S, RELEASED

CLAIM = b"claimed by another"
VECTOR = bytes(8)
WANTED: Any = cast("Any", object())


class Stream:
    """The claims of this worker, and the last message of each key with its sequence; None: it cannot be read."""

    def __init__(self, *taken: str) -> None:
        self.taken = set(taken)
        self.asked: list[dict[str, int]] = []
        self.messages: dict[str, tuple[int, bytes]] | None = dict.fromkeys(taken, (1, CLAIM))

    async def take(self, seen: Mapping[str, int]) -> frozenset[str]:
        self.asked.append(dict(seen))
        return frozenset(self.taken & set(seen))

    async def entries(self, keys: Sequence[str]) -> Mapping[str, tuple[int, bytes]] | None:
        if self.messages is None:
            return None
        return {key: self.messages[key] for key in keys if key in self.messages}

    async def stop(self) -> None:
        """Nothing runs here."""


class Watching:
    def __init__(self, stream: Stream, *, has_peers: bool = True, is_valid: bool = True) -> None:
        self.arrived: list[tuple[str, bytes]] = []
        self.again: list[str] = []
        self.again_at_s = 0.0
        self.is_valid = is_valid
        self.texts: dict[str, Text] = {}
        part: Any = stream
        self.others = OtherWorkers(part, part, lambda _: has_peers, self._arrived, self._again)

    def _arrived(self, text: Text, vector: bytes) -> bool:
        if self.is_valid:
            self.arrived.append((text.key, vector))
        return self.is_valid

    def _again(self, text: Text) -> None:
        self.again.append(text.key)
        self.again_at_s = loop_now_s()

    async def claimed(self, keys: str) -> str:
        batch = [self.texts.setdefault(key, Text(key, key, 1, requests=[WANTED])) for key in keys]
        return "".join(text.key for text in await self.others.claim("embed", batch))


async def test_h2_a_worker_alone_claims_nothing() -> None:
    stream = Stream("a")
    assert await Watching(stream, has_peers=False).claimed("ab") == "ab"
    assert stream.asked == []


async def test_h2_the_vector_of_another_worker_is_taken() -> None:
    stream = Stream("a", "c")
    watching = Watching(stream)
    assert await watching.claimed("abc") == "b"
    await asyncio.sleep(EXPIRES_S / 2)
    assert watching.arrived == []
    assert stream.messages is not None
    stream.messages["a"] = (2, VECTOR)
    await asyncio.sleep(0.3)
    assert watching.arrived == [("a", VECTOR)]
    assert watching.again == []
    await watching.others.stop()


async def test_h2_a_claim_that_is_renewed_is_waited_for_and_one_that_is_not_expires() -> None:
    stream = Stream("a")
    watching = Watching(stream)
    await watching.claimed("a")
    for sequence in range(2, 12):
        stream.messages = {"a": (sequence, CLAIM)}
        await asyncio.sleep(EXPIRES_S / 2)
    assert watching.again == []
    last_s = loop_now_s() - EXPIRES_S / 2
    await asyncio.sleep(EXPIRES_S)
    assert watching.again == ["a"]
    assert watching.again_at_s - last_s == pytest.approx(EXPIRES_S, abs=0.5)
    stream.taken.clear()
    assert await watching.claimed("a") == "a"
    assert stream.asked == [{"a": 0}, {"a": 11}]


@pytest.mark.parametrize(
    "messages", [{"a": (2, RELEASED)}, {}, None], ids=["released", "no message", "the stream cannot be read"]
)
async def test_h2_a_text_without_a_claim_is_embedded_here(
    messages: dict[str, tuple[int, bytes]] | None,
) -> None:
    stream = Stream("a")
    watching = Watching(stream)
    await watching.claimed("a")
    stream.messages = messages
    await asyncio.sleep(0.3)
    assert watching.again == ["a"]


async def test_h2_a_vector_that_does_not_fit_is_embedded_here() -> None:
    stream = Stream("a")
    watching = Watching(stream, is_valid=False)
    await watching.claimed("a")
    stream.messages = {"a": (2, VECTOR)}
    await asyncio.sleep(0.3)
    assert (watching.arrived, watching.again) == ([], ["a"])
