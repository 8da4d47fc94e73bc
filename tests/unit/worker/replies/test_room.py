"""When a large reply may be written on: permits by account, and room in the stream."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress

import pytest
from prometheus_client import CollectorRegistry

from penstock.contract.streams import REPLIES_LEAST_AGE_S
from services.worker.metrics import WorkerMetrics
from services.worker.providers.size_limits import STREAM_BYTES
from services.worker.replies.room import ReplyRoom

MIB = 2**20
BOUND = 16 * STREAM_BYTES
"""Half of it are eight permits, of which an account may have four."""
SCARCE = 29 * BOUND // 32
"""Above it there is no room."""
FREE = BOUND // 256
"""What a reply writes without a permit."""
ALLOWANCE = BOUND // 64
"""What the replies of an account may write without permits while there is no room."""
WINDOW = BOUND // 32 // 8


class Stream:
    """The stream of replies, of which `stored` bytes are used; None: it does not answer."""

    def __init__(self, *, stored: int | None = 0, workers: int = 1, bound: int = BOUND) -> None:
        self.stored = stored
        self._registry = CollectorRegistry()
        self.room = ReplyRoom(bound, self._size, lambda: workers, WorkerMetrics(self._registry))
        self.stack = AsyncExitStack()

    async def _size(self) -> int | None:
        return self.stored

    def observed_waits(self) -> float | None:
        return self._registry.get_sample_value("penstock_reply_room_wait_seconds_count")

    async def large(self, account: str) -> asyncio.Task[bool]:
        """A large reply of the account that asks for room; its result is whether it has to be written again."""
        space = await self.stack.enter_async_context(self.room.space(account))
        space.add(FREE)
        task = asyncio.create_task(space.extend(1))
        await asyncio.sleep(0.5)
        return task


async def test_a_small_reply_is_written_at_once() -> None:
    stream = Stream(stored=BOUND)
    async with stream.room.space("a") as space:
        for _ in range(16):
            assert space.take(FREE // 16)
            space.add(FREE // 16)
    assert [each.stored for each in stream.room.report()] == [((1, FREE),)]


async def write_small(stream: Stream, account: str, number: int) -> int:
    """Writes so many small replies of the account one after the other; returns the bytes that had room in 0.5 s."""
    written = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            for _ in range(number):
                async with stream.room.space(account) as space:
                    if not space.take(FREE):
                        await space.extend(FREE)
                    space.add(FREE)
                    written += FREE
    return written


async def test_e2_small_replies_of_an_account_wait_when_they_are_many_and_the_stream_has_no_room() -> None:
    stream = Stream(stored=BOUND)
    assert await write_small(stream, "a", 10) == ALLOWANCE
    assert await write_small(stream, "b", 1) == FREE, "another account has its own allowance"
    stream.stored = SCARCE
    assert await write_small(stream, "a", 10) == 10 * FREE


@pytest.mark.parametrize("workers", [1, 4, 5, 8, 16])
async def test_e2_each_account_has_room_for_a_small_reply_in_each_worker(workers: int) -> None:
    stream = Stream(stored=BOUND, workers=workers)
    assert await write_small(stream, "a", 10) == max(FREE, ALLOWANCE // workers)


@pytest.mark.parametrize("workers", [1, 8])
async def test_e2_open_replies_that_have_written_little_leave_room_for_another_one(workers: int) -> None:
    stream = Stream(stored=BOUND, workers=workers)
    async with stream.stack:
        for number in range(300):
            space = await stream.stack.enter_async_context(stream.room.space("a"))
            if number % 2:
                assert space.take(100)
                space.add(100)
        assert await write_small(stream, "a", 10) == max(FREE, ALLOWANCE // workers) - FREE
        async with stream.room.space("a") as space:
            assert space.take(FREE - 150 * 100)


async def test_e2_what_a_small_reply_does_not_write_is_left_for_others() -> None:
    stream = Stream(stored=BOUND)
    for _ in range(1000):
        async with stream.room.space("a") as space:
            assert space.take(FREE // 2)
            space.add(100)
    assert await write_small(stream, "a", 10) == ALLOWANCE - FREE


async def test_e2_room_that_was_taken_counts_until_it_is_written_and_stored() -> None:
    """Replies that have taken room while there was some, and write when there is none any more."""
    stream = Stream(stored=SCARCE)
    async with stream.stack:
        spaces = [await stream.stack.enter_async_context(stream.room.space("a")) for _ in range(5)]
        assert [space.take(FREE) for space in spaces] == [True] * 4 + [False]
        waiting = asyncio.create_task(spaces[4].extend(FREE))
        await asyncio.sleep(0.5)
        assert not waiting.done(), "the looks found room, but nothing of what was taken is stored"
        spaces[0].add(FREE)
        await waiting
        stream.stored = BOUND
        for space in spaces[1:]:
            space.add(FREE)
        assert not spaces[0].take(1), "what was written since counts"


async def test_an_account_writes_half_of_the_large_replies_and_another_one_the_rest() -> None:
    stream = Stream()
    async with stream.stack:
        own = [await stream.large("a") for _ in range(5)]
        assert [each.done() for each in own] == [True] * 4 + [False]
        others = [await stream.large("b") for _ in range(4)]
        assert all(each.done() for each in others)
        own[-1].cancel()


async def test_a_large_reply_waits_while_the_stream_has_no_room_or_does_not_answer() -> None:
    for stored in (BOUND, None):
        stream = Stream(stored=stored)
        async with stream.stack:
            waiting = await stream.large("a")
            assert not waiting.done()
            stream.stored = 0
            assert await waiting is False


async def test_a_reply_that_waited_long_is_written_again() -> None:
    stream = Stream(stored=BOUND)
    async with stream.stack:
        waiting = await stream.large("a")
        await asyncio.sleep(6.0)
        stream.stored = 0
        assert await waiting is True


async def test_e2_a_large_reply_is_granted_a_window_beyond_what_is_stored() -> None:
    stream = Stream(stored=SCARCE)
    async with stream.room.space("a") as space:
        await space.extend(FREE + 1)
        space.add(FREE + 1)
        await space.extend(1)
        assert space.take(WINDOW)
        assert not space.take(WINDOW + 1)
        stream.stored = SCARCE + 1
        space.add(WINDOW)
        waiting = asyncio.create_task(space.extend(1))
        await asyncio.sleep(0.3)
        assert space.waits
        stream.stored = SCARCE
        await waiting


@pytest.mark.parametrize("workers", [1, 2, 4, 8])
async def test_slow_large_replies_stop_no_other_one(workers: int) -> None:
    """Each worker has as many of them as it has permits but one, which write nothing more for a while."""
    stream = Stream(stored=SCARCE, workers=workers)
    async with stream.stack:
        for number in range(8 // workers - 1):
            assert (await stream.large(f"slow-{number}")).done()
        assert (await stream.large("last")).done()


async def test_e2_events_larger_than_a_window_are_written_one_at_a_time() -> None:
    stream = Stream()
    async with stream.stack:
        first = await stream.stack.enter_async_context(stream.room.space("a"))
        second = await stream.stack.enter_async_context(stream.room.space("b"))
        await first.extend(5 * WINDOW)
        waiting = asyncio.create_task(second.extend(5 * WINDOW))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        first.add(5 * WINDOW)
        await waiting


async def test_replies_that_wait_for_room_do_not_keep_what_would_have_to_be_deleted_for_them() -> None:
    stream = Stream()
    async with stream.stack:
        space = await stream.stack.enter_async_context(stream.room.space("a"))
        await space.extend(FREE + 1)
        space.add(FREE + 1)
        assert [each.unfinished_s > 0 for each in stream.room.report()] == [True]
        stream.stored = BOUND
        waiting = asyncio.create_task(space.extend(16 * MIB))
        await asyncio.sleep(REPLIES_LEAST_AGE_S + 4.0)
        assert [each.unfinished_s > 0 for each in stream.room.report()] == [True], (
            "others can be deleted first"
        )
        await asyncio.sleep(2.0)
        assert [each.unfinished_s for each in stream.room.report()] == [0]
        stream.stored = 0
        await waiting
        assert [each.unfinished_s > 0 for each in stream.room.report()] == [True]


@pytest.mark.parametrize("bound", [BOUND // 16, BOUND, 16 * BOUND])
async def test_e2_an_account_whose_large_reply_waits_is_reported(bound: int) -> None:
    """Else routers take another account to be alone, whose readers then stop the reply."""
    stream = Stream(stored=bound, bound=bound)
    async with stream.room.space("a") as space:
        space.add(bound // 256 // 4)
        waiting = asyncio.create_task(space.extend(bound // 256))
        await asyncio.sleep(0.2)
        assert [each.account for each in stream.room.report()] == ["a"]
        stream.stored = 0
        await waiting


@pytest.mark.parametrize("workers", [1, 4, 8, 32])
async def test_slow_large_replies_of_one_account_leave_a_permit_for_another(workers: int) -> None:
    stream = Stream(workers=workers)
    async with stream.stack:
        for _ in range(8):
            await stream.large("slow")
        assert (await stream.large("other")).done()


async def test_the_account_of_a_reply_that_waits_for_its_permit_is_reported() -> None:
    stream = Stream(workers=8)
    async with stream.stack:
        for account in ("a", "c"):
            assert (await stream.large(account)).done(), "this worker has two permits"
        space = await stream.stack.enter_async_context(stream.room.space("b"))
        space.add(MIB)
        waiting = asyncio.create_task(space.extend(MIB))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        assert "b" in {each.account for each in stream.room.report()}
        waiting.cancel()


async def test_the_metric_has_each_wait_for_room_also_of_small_replies() -> None:
    stream = Stream(stored=BOUND)
    await write_small(stream, "a", 4)
    assert stream.observed_waits() == 0, "these had room at once"
    async with stream.room.space("a") as space:
        waiting = asyncio.create_task(space.extend(FREE))
        await asyncio.sleep(1.0)
        stream.stored = 0
        await waiting
    assert stream.observed_waits() == 1


async def test_e2_a_reply_that_was_given_room_waits_for_no_other_one() -> None:
    stream = Stream()
    async with stream.stack:
        slow, next_one, small = [
            await stream.stack.enter_async_context(stream.room.space(account)) for account in "abc"
        ]
        await slow.extend(5 * WINDOW)
        blocked = asyncio.create_task(next_one.extend(5 * WINDOW))
        await asyncio.sleep(0.2)
        assert not blocked.done(), "events larger than a window are written one at a time"
        small.add(FREE)
        async with asyncio.timeout(0.3):
            await small.extend(WINDOW)
        blocked.cancel()
