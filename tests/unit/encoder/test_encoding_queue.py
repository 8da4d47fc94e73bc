"""The queue of the encoder: every text gets its own vector, requests take turns, the work in progress is bounded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import asynccontextmanager

import numpy as np
import pytest

from penstock.runtime.aio import cancel_and_wait
from services.encoder.encoding_queue import EncodingQueue
from services.encoder.errors import QueueFull

pytestmark = pytest.mark.real_time


class Encoding:
    """Encodes a piece as its length, in steps that wait for `release`."""

    def __init__(self, *, blocked: bool = False):
        self.steps: list[list[str]] = []
        self.release = threading.Event()
        if not blocked:
            self.release.set()

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.release.wait(10)
        self.steps.append(list(texts))
        if "poison" in texts:
            raise ValueError("poison")
        return np.array([[len(text)] * 512 for text in texts], dtype=np.float32)


@asynccontextmanager
async def running(encoding: Encoding, max_characters: int = 10**6):
    queue = EncodingQueue(encoding, max_characters)
    task = asyncio.create_task(queue.run())
    try:
        yield queue
    finally:
        encoding.release.set()
        await cancel_and_wait(task)


async def test_h2_every_text_gets_its_own_vector():
    async with running(Encoding()) as queue:
        texts = ["a" * (number + 1) for number in range(200)]
        found = await asyncio.gather(*(queue.means([text]) for text in texts), queue.means(texts))
        for text, means in zip(texts, found, strict=False):
            assert means[0, 0] == len(text)
        assert [row[0] for row in found[-1]] == [len(text) for text in texts]


async def test_h2_a_long_text_is_the_sum_of_its_pieces():
    async with running(Encoding()) as queue:
        found = await queue.means(["word " * 300, "short"])
        assert 1_400 < found[0, 0] < 1_500
        assert found[1, 0] == 5


async def test_h2_a_question_does_not_wait_for_a_long_request():
    encoding = Encoding(blocked=True)
    async with running(encoding) as queue:
        long = asyncio.create_task(queue.means(["word " * 70] * 500))
        await asyncio.sleep(0.05)
        question = asyncio.create_task(queue.means(["question?"]))
        await asyncio.sleep(0)
        encoding.release.set()
        await question
        assert not long.done()
        assert "question?" in encoding.steps[1]
        assert len(await long) == 500


async def test_h2_short_requests_do_not_stop_a_long_one():
    encoding = Encoding()
    async with running(encoding) as queue:
        long = asyncio.create_task(queue.means(["word " * 70] * 30))

        async def ask() -> None:
            while not long.done():
                await queue.means(["question?"] * 10)

        await asyncio.wait_for(asyncio.gather(*(ask() for _ in range(20))), 10)
        assert len(await long) == 30


async def test_h2_the_long_request_with_the_least_left_ends_first():
    encoding = Encoding(blocked=True)
    async with running(encoding) as queue:
        order: list[int] = []

        async def ask(texts: int) -> None:
            await queue.means(["word " * 70] * texts)
            order.append(texts)

        asking = [asyncio.create_task(ask(texts)) for texts in (400, 100, 101, 200)]
        await asyncio.sleep(0.05)
        encoding.release.set()
        await asyncio.gather(*asking)
        assert order == [100, 101, 200, 400]


async def test_h2_beyond_the_bound_a_request_is_refused_with_a_time():
    encoding = Encoding(blocked=True)
    async with running(encoding, max_characters=1_000_000) as queue:
        first = asyncio.create_task(queue.means(["x" * 5_000] * 199))
        await asyncio.sleep(0)
        with pytest.raises(QueueFull) as refused:
            await queue.means(["x" * 100_000] * 2)
        assert refused.value.status == 429
        assert refused.value.headers == {"retry-after": "3"}, "195,000 characters of 15 us"
        encoding.release.set()
        await first
        assert queue.characters == 0
        await queue.means(["x" * 150_000] * 10)  # alone, a request of any size


async def test_h2_a_cancelled_request_leaves_no_work():
    encoding = Encoding(blocked=True)
    async with running(encoding) as queue:
        dropped = asyncio.create_task(queue.means(["word " * 70] * 500))
        await asyncio.sleep(0.05)
        dropped.cancel()
        await asyncio.wait({dropped})
        assert queue.characters == 0
        encoding.release.set()
        await queue.means(["last"])
        assert sum(map(len, encoding.steps)) < 50


async def test_h2_a_failed_step_fails_its_requests_only():
    async with running(Encoding()) as queue:
        with pytest.raises(ValueError, match="poison"):
            await queue.means(["poison"])
        assert (await queue.means(["fine"]))[0, 0] == 4
