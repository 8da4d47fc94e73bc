"""Large answers of one account at once all arrive, also at a slow reader, and another account keeps its reply."""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client as Nats

from penstock.bus.direct_get import stream_position
from penstock.client.client import Client
from penstock.contract.reply import Completed, Delta
from penstock.contract.streams import REPLIES, REPLIES_SCARCE
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, running_system
from tests.harness.providers.long_answers import answer_at_length, config_of
from tests.harness.providers.scripted_provider import ScriptedProvider, scripted_provider
from tests.harness.requests.replies import ask, text_of
from tests.harness.suite.waiting import until

SCALE = 0.1
AT_ONCE = 24
LARGE = 1_200_000
"""Characters of each answer: all of them are more than the stream has room for."""
SMALL = 40_000
SLOW_S = 16.0
"""Seconds in which a slow reader takes what its client has in memory: then its events are that old."""


FILLING = 8
"""Answers of 9 MB, which are more than a stream of 64 MiB holds."""
BURST, MEDIUM = 60, 300_000
"""Answers that begin when it is full, and the characters of each; the first 256 KiB need no permit."""
TEXTS, EMBEDDED = 600, 40
"""Texts of an embed request, whose vectors have 0.8 MB, and the number of such requests."""


def small_store(
    directory: Path,
    provider: ScriptedProvider,
    *,
    workers: int = 1,
    slots: int = AT_ONCE,
    scale: float = SCALE,
) -> AbstractAsyncContextManager[System]:
    """A system whose stream of replies has less room than the large answers need together."""
    return running_system(
        directory,
        *["chat"] * workers,
        config=config_of(provider, slots),
        env={"PENSTOCK_STORE_SCALE": str(scale)},
    )


async def has_no_room(nc: Nats) -> bool:
    """Whether large answers wait for room."""
    return (await stream_position(nc, REPLIES.name)).fill > REPLIES_SCARCE


async def answered(client: Client, letter: str, size: int, *, stream: bool) -> bool:
    """Whether the answer is whole."""
    reply = await ask(client, f"{letter} {size}", role="chat", stream=stream, timeout_s=90)
    return reply.text == letter * size


async def test_e2_large_answers_of_one_account_cost_no_other_account_its_reply(tmp_path: Path) -> None:
    assert REPLIES.scaled(SCALE).max_bytes < AT_ONCE * LARGE
    with scripted_provider("m-chat") as provider:
        provider.answer = answer_at_length
        async with (
            small_store(tmp_path, provider) as system,
            await system.client(account="small") as other,
        ):
            mine = await ask(other, f"s {SMALL}", role="chat")
            async with await system.client(account="large") as client:
                whole = await asyncio.gather(
                    *(answered(client, "l", LARGE, stream=number % 4 > 0) for number in range(AT_ONCE))
                )
            assert all(whole)
            assert len(provider.calls) == 1 + AT_ONCE, "no provider was paid in vain"
            again = [event async for event in other.resume(mine.id)]
            assert text_of(again) == "s" * SMALL


@pytest.mark.parametrize("account", ["large", "third"])
async def test_e2_answers_that_begin_while_there_is_no_room_cost_no_other_account_its_reply(
    tmp_path: Path, account: str
) -> None:
    """Two workers, and so many answers that what each of them writes at once is more than is left of the stream."""
    with scripted_provider("m-chat") as provider:
        provider.answer = answer_at_length
        async with (
            small_store(tmp_path, provider, workers=2, slots=FILLING + BURST, scale=0.25) as system,
            await system.client(account="small") as other,
            await system.client(account="large") as client,
            await system.client(account=account) as late,
        ):
            mine = await ask(other, f"s {SMALL}", role="chat")
            answers = [
                asyncio.create_task(answered(client, "l", 9_000_000, stream=True)) for _ in range(FILLING)
            ]
            nc = await nats.connect(system.nats.url)
            await until(lambda: has_no_room(nc), 20)
            await nc.close()
            answers += [asyncio.create_task(answered(late, "m", MEDIUM, stream=True)) for _ in range(BURST)]
            assert all(await asyncio.gather(*answers))
            assert len(provider.calls) == 1 + FILLING + BURST
            again = [event async for event in other.resume(mine.id)]
            assert text_of(again) == "s" * SMALL


async def test_e2_vectors_of_one_account_cost_no_other_account_its_reply(tmp_path: Path) -> None:
    model = {"embedding": {"dimensions": 256}, "price": {"input": 20_000}}
    config = catalogue(
        {"chat": ("m-chat",), "embed": ("m-embed",)}, models={"m-embed": model}, role={"slots_per_worker": 64}
    )
    texts = [f"text {number}" for number in range(TEXTS)]
    async with (
        running_system(
            tmp_path, *["chat,embed"] * 2, config=config, env={"PENSTOCK_STORE_SCALE": str(SCALE)}
        ) as system,
        await system.client(account="small") as other,
        await system.client(account="large") as client,
    ):
        mine = await ask(other, "hello", role="chat")
        found = await asyncio.gather(
            *(client.embed(texts, role="embed", timeout_s=90) for _ in range(EMBEDDED))
        )
        assert {each.count for each in found} == {TEXTS}
        assert text_of([event async for event in other.resume(mine.id)]) == mine.text


async def read_slowly(client: Client) -> int:
    """The number of characters that a reader gets which takes two events a second at first; 0: not all of them."""
    size, began_s, end = 0, time.monotonic(), None
    async with client.stream(f"s {LARGE}", role="chat", timeout_s=60) as stream:
        async for end in stream:
            size += len(end.text) if isinstance(end, Delta) else 0
            if time.monotonic() < began_s + SLOW_S:
                await asyncio.sleep(0.5)
    return size if isinstance(end, Completed) else 0


async def test_e2_a_slow_reader_gets_its_reply_while_its_account_fills_the_stream(tmp_path: Path) -> None:
    with scripted_provider("m-chat") as provider:
        provider.answer = answer_at_length
        async with (
            small_store(tmp_path, provider) as system,
            await system.client(account="large", name="slow") as slow,
            await system.client(account="large") as client,
        ):
            reading = asyncio.create_task(read_slowly(slow))
            await asyncio.sleep(1.0)
            answers = [asyncio.create_task(answered(client, "l", LARGE, stream=True)) for _ in range(AT_ONCE)]
            assert await reading == LARGE
            assert all(await asyncio.gather(*answers))
            assert len(provider.calls) == 1 + AT_ONCE
