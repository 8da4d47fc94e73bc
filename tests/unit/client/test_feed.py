"""The live events of one reply, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from penstock.client.follow import Feed
from tests.harness.requests.reply_events import delta

ONE, TWO = delta("one"), delta("two")


async def test_e1_events_that_wait_come_at_once_and_in_order():
    feed = Feed()
    feed.put(ONE)
    feed.put(TWO)
    assert [await feed.get(5), await feed.get(5)] == [ONE, TWO]
    assert feed.is_empty


async def test_e1_the_reader_is_woken_by_an_event():
    feed, loop = Feed(), asyncio.get_running_loop()
    began_s = loop.time()
    loop.call_later(3, feed.put, ONE)
    assert await feed.get(5) == ONE
    assert 3 <= loop.time() - began_s < 3.01


async def test_e2_silence_ends_each_wait_after_its_own_time():
    """One timer serves several waits: that of the first may end while the second waits, and be late for a third."""
    feed, loop = Feed(), asyncio.get_running_loop()
    loop.call_later(4, feed.put, ONE)
    assert await feed.get(5) == ONE
    for timeout_s in (5.0, 0.25, 5.0, 2.0):
        began_s = loop.time()
        assert await feed.get(timeout_s) is None
        assert abs(loop.time() - began_s - timeout_s) < 0.002
    assert await feed.get(-1) is None


async def test_e2_none_asks_the_reader_to_read_the_store():
    feed, loop = Feed(), asyncio.get_running_loop()
    loop.call_later(1, feed.put, None)
    assert await feed.get(5) is None
    assert loop.time() < 5


async def test_e2_events_without_room_are_dropped_and_the_store_is_read_after_the_others():
    feed = Feed()
    for _ in range(5_000):
        feed.put(ONE)
    received = 0
    while await feed.get(5) == ONE:
        received += 1
    assert received == 4_096
    feed.put(TWO)
    assert await feed.get(5) == TWO


async def test_e2_large_events_without_room_are_dropped_as_well():
    feed = Feed()
    for _ in range(100):
        feed.put(ONE, 100_000)
    received = 0
    while await feed.get(5) == ONE:
        received += 1
    assert received == 6
    feed.put(TWO, 10_000_000)
    assert await feed.get(5) == TWO


async def test_d8_a_cancelled_reader_leaves_no_timer():
    feed, loop = Feed(), asyncio.get_running_loop()
    reading = asyncio.create_task(feed.get(5))
    await asyncio.sleep(1)
    reading.cancel()
    await asyncio.wait({reading})
    feed.put(ONE)
    feed.close()
    began_s = loop.time()
    assert await feed.get(5) == ONE
    assert loop.time() == began_s


async def test_e2_a_reader_is_behind_from_the_first_dropped_event_until_the_store_was_read():
    called: list[float] = []
    loop = asyncio.get_running_loop()
    feed = Feed(lambda: called.append(loop.time()))
    feed.put(ONE, 10_000_000)
    assert not feed.is_behind
    feed.put(ONE)
    dropped_s = loop.time()
    await asyncio.sleep(10)
    feed.put(ONE)
    assert called == [dropped_s], "once for all that are dropped"
    assert feed.behind_s() == pytest.approx(10)
    assert await feed.get(5) == ONE
    assert await feed.get(5) is None
    feed.note_store_read(loop.time())
    assert (feed.is_behind, feed.behind_s()) == (False, 0)


async def test_e2_an_event_that_is_dropped_while_the_store_is_read_counts_from_the_begin_of_that_read():
    feed, loop = Feed(), asyncio.get_running_loop()
    feed.put(ONE, 10_000_000)
    feed.put(ONE)
    await asyncio.sleep(30)
    began_s = loop.time()
    await asyncio.sleep(2)
    feed.put(TWO)
    feed.note_store_read(began_s)
    assert feed.behind_s() == pytest.approx(2)


async def test_e2_a_reader_that_takes_nothing_for_a_minute_does_not_count_until_it_goes_on():
    feed = Feed()
    feed.put(ONE, 10_000_000)
    feed.put(ONE)
    await asyncio.sleep(59)
    assert feed.behind_s() == pytest.approx(59)
    await asyncio.sleep(2)
    assert (feed.is_behind, feed.behind_s()) == (True, 0)
    assert await feed.get(5) == ONE
    assert feed.behind_s() == pytest.approx(61)
