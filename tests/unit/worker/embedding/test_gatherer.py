"""H2: when texts are sent."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from penstock.bus.clock import loop_now_s
from services.worker.embedding.gatherer import Gatherer
from services.worker.embedding.request import Text
from services.worker.embedding.text_queue import BatchSize
from tests.harness.suite.waiting import until

WANTED: Any = cast("Any", object())


class Calls:
    """Batches as they were sent; each call lasts until it is released."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.at_s: list[float] = []
        self._open: list[asyncio.Event] = []

    async def send(self, batch: list[Text]) -> None:
        self.batches.append([text.key for text in batch])
        self.at_s.append(loop_now_s())
        released = asyncio.Event()
        self._open.append(released)
        await released.wait()

    def release(self) -> None:
        self._open.pop(0).set()


def texts(*keys: str) -> list[Text]:
    return [Text(key, key, 1, requests=[WANTED]) for key in keys]


def gatherer(calls: Calls, inputs: int = 100, at_once: int = 2) -> Gatherer:
    return Gatherer(calls.send, lambda: BatchSize(inputs, 10_000), at_once)


async def test_h2_texts_of_one_moment_share_a_call_and_a_lone_one_waits_shortly() -> None:
    calls = Calls()
    gathering, began_s = gatherer(calls), loop_now_s()
    for number in range(5):
        gathering.add(f"user {number}", texts(str(number)))
    await until(lambda: bool(calls.batches), every_s=0.001)
    assert calls.batches == [["0", "1", "2", "3", "4"]]
    assert 0.002 <= calls.at_s[0] - began_s < 0.2
    await gathering.stop()


async def test_h2_a_full_batch_is_sent_at_once() -> None:
    calls = Calls()
    gathering = gatherer(calls, inputs=3)
    gathering.add("u", texts(*"abcdefg"))
    await asyncio.sleep(0)
    assert calls.batches == [["a", "b", "c"], ["d", "e", "f"]]
    calls.release()
    await until(lambda: len(calls.batches) == 3, every_s=0.001)
    assert calls.batches[2] == ["g"]
    await gathering.stop()


async def test_h2_texts_that_waited_for_a_call_go_when_one_is_free() -> None:
    calls = Calls()
    gathering = gatherer(calls, at_once=1)
    gathering.add("u", texts("a"))
    await until(lambda: len(calls.batches) == 1, every_s=0.001)
    gathering.add("u", texts("b"))
    gathering.add("v", texts("c"))
    await asyncio.sleep(0.03)
    assert len(calls.batches) == 1
    calls.release()
    for _ in range(5):  # turns of the loop, and no time
        await asyncio.sleep(0)
    assert calls.batches[1:] == [["b", "c"]]
    assert not gathering.is_idle
    await gathering.stop()


async def test_h2_texts_that_nobody_wants_any_more_are_not_sent() -> None:
    calls = Calls()
    gathering = gatherer(calls)
    wanted, unwanted = texts("a", "b")
    gathering.add("u", [unwanted, wanted])
    unwanted.requests.clear()
    await until(lambda: bool(calls.batches), every_s=0.001)
    assert calls.batches == [["a"]]
    await gathering.stop()


async def test_h2_texts_that_keep_coming_are_sent_after_the_longest_wait() -> None:
    calls, began_s = Calls(), loop_now_s()
    gathering = gatherer(calls)
    sent = 0
    while not calls.batches:
        gathering.add("u", texts(str(sent)))
        sent += 1
        await asyncio.sleep(0.002)
    assert calls.at_s[0] - began_s == pytest.approx(0.02, abs=0.004)
    assert len(calls.batches[0]) > 5
    await gathering.stop()


async def test_h2_a_busy_worker_waits_longer_for_the_texts_that_it_expects() -> None:
    calls, began_s = Calls(), loop_now_s()
    expecting = True
    gathering = Gatherer(calls.send, lambda: BatchSize(100, 10_000), 2, lambda: expecting)
    gathering.add("u", texts("a"))
    await asyncio.sleep(0.04)
    assert calls.batches == []
    gathering.add("u", texts("b"))
    await until(lambda: bool(calls.batches), every_s=0.001)
    assert calls.batches == [["a", "b"]]
    assert calls.at_s[0] - began_s == pytest.approx(0.06, abs=0.005)

    gathering.add("u", texts("c"))
    began_s, expecting = loop_now_s(), False
    await until(lambda: len(calls.batches) == 2, every_s=0.001)
    assert calls.at_s[1] - began_s < 0.01
    await gathering.stop()


async def test_h2_a_call_that_raises_does_not_hold_the_next_texts() -> None:
    sent: list[list[str]] = []

    async def send(batch: list[Text]) -> None:
        sent.append([text.key for text in batch])
        raise RuntimeError("a bug")

    gathering = Gatherer(send, lambda: BatchSize(1, 10_000), 1)
    gathering.add("u", texts("a", "b"))
    await until(lambda: len(sent) == 2, every_s=0.001)
    await until(lambda: gathering.is_idle, every_s=0.001)
    assert sent == [["a"], ["b"]]


async def test_h2_nothing_is_sent_after_the_stop() -> None:
    calls = Calls()
    gathering = gatherer(calls, inputs=1, at_once=1)
    gathering.add("u", texts("a", "b"))
    await until(lambda: len(calls.batches) == 1, every_s=0.001)
    await gathering.stop()
    gathering.add("u", texts("c"))
    await asyncio.sleep(1)
    assert calls.batches == [["a"]]
