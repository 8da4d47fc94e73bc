"""The live events of a reply that does not stream, in virtual time."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from penstock.client.follow import Followed
from penstock.client.timings import ClientTimings
from penstock.client.whole_feed import WholeFeed
from penstock.contract.reply import first_seq
from tests.harness.requests.reply_events import accepted, completed, delta, failed, restarted, started

ACCEPTED = accepted(at_ms=1_000, deadline_ms=101_000)
END = replace(completed(), seq=first_seq(1) + 1)
WHOLE = [ACCEPTED, started(), END]
TIMINGS = ClientTimings(silence_s=5, grace_s=10)


def followed(timeout_s: float = 120) -> Followed:
    began_s = asyncio.get_running_loop().time()
    return Followed("subject", began_s + timeout_s, TIMINGS, began_s)


@pytest.mark.parametrize("while_waiting", [True, False])
async def test_e1_the_reader_is_woken_once_by_the_end(while_waiting):
    feed, loop = WholeFeed(), asyncio.get_running_loop()
    for number, event in enumerate(WHOLE):
        if while_waiting:
            loop.call_later(4 * number, feed.put, event)
        else:
            feed.put(event)
    began_s = loop.time()
    assert await feed.wait(followed())
    assert feed.events == WHOLE
    assert loop.time() - began_s == pytest.approx(8 if while_waiting else 0, abs=0.01)


@pytest.mark.parametrize(
    "events",
    [
        [ACCEPTED, started(1), started(2), replace(failed(2), seq=first_seq(2) + 1)],
        [
            ACCEPTED,
            started(1),
            delta("a", seq=1),
            started(2),
            restarted(2),
            replace(completed(2), seq=first_seq(2) + 2),
        ],
    ],
)
async def test_d6_the_attempts_of_a_reply_are_in_order(events):
    feed = WholeFeed()
    for event in events:
        feed.put(event)
    assert await feed.wait(followed())
    assert feed.events == events


@pytest.mark.parametrize(
    "late", [started(2), END, None], ids=["another attempt", "the end again", "reconnected"]
)
@pytest.mark.parametrize("while_waiting", [True, False])
async def test_d6_nothing_follows_the_end(while_waiting, late):
    """A worker that was replaced, or that sends its end again, and a reconnection."""
    feed, loop = WholeFeed(), asyncio.get_running_loop()
    put = [*WHOLE, late]
    if while_waiting:
        loop.call_later(1, lambda: [feed.put(event) for event in put])
    else:
        for event in put:
            feed.put(event)
    assert await feed.wait(followed())
    assert feed.events == WHOLE


@pytest.mark.parametrize(
    "events",
    [
        [started(), END],
        [ACCEPTED, END],
        [ACCEPTED, started(), replace(END, seq=END.seq + 1)],
        [ACCEPTED, started(2), END],
        [ACCEPTED, ACCEPTED],
        [ACCEPTED, None],
        [None],
    ],
)
async def test_d6_a_reply_that_is_not_in_order_is_to_be_followed(events):
    """A lost event, an event of a replaced worker, a duplicate, and a reconnection, after which some may be lost."""
    feed, loop = WholeFeed(), asyncio.get_running_loop()
    loop.call_later(1, lambda: [feed.put(event) for event in events])
    began_s = loop.time()
    assert not await feed.wait(followed())
    assert loop.time() - began_s == pytest.approx(1, abs=0.01)
    assert feed.events == [event for event in events if event is not None]


@pytest.mark.parametrize(("comes", "ends_s"), [([], 5), ([3], 8), ([3, 7], 12)])
async def test_e2_a_reply_is_to_be_followed_after_silence(comes, ends_s):
    feed, loop = WholeFeed(), asyncio.get_running_loop()
    for at_s, event in zip(comes, WHOLE, strict=False):
        loop.call_later(at_s, feed.put, event)
    began_s = loop.time()
    assert not await feed.wait(followed())
    assert loop.time() - began_s == pytest.approx(ends_s, abs=0.01)


@pytest.mark.parametrize("before", [True, False])
async def test_d8_the_accepted_event_sets_the_deadline(before):
    feed, loop = WholeFeed(), asyncio.get_running_loop()
    soon = accepted(at_ms=1_000, deadline_ms=1_000 - 8_000)  # with the grace of 10 s: in 2 s
    if before:
        feed.put(soon)
    else:
        loop.call_later(1, feed.put, soon)
    began_s = loop.time()
    assert not await feed.wait(followed())
    assert loop.time() - began_s == pytest.approx(2 if before else 3, abs=0.01)


async def test_d8_the_wait_ends_with_the_time_of_the_request():
    feed, loop = WholeFeed(), asyncio.get_running_loop()
    began_s = loop.time()
    assert not await feed.wait(followed(timeout_s=2))
    assert loop.time() - began_s == pytest.approx(2, abs=0.01)


@pytest.mark.parametrize(("number", "size", "kept"), [(100, 0, 64), (100, 100_000, 6)])
async def test_e2_events_beyond_the_bound_are_left_to_the_store(number, size, kept):
    feed = WholeFeed()
    for seq in range(number):
        feed.put(ACCEPTED if seq == 0 else started() if seq == 1 else delta("x", seq=seq - 1), size)
    assert not await feed.wait(followed())
    assert len(feed.events) == kept


async def test_d8_a_cancelled_reader_leaves_no_timer():
    feed = WholeFeed()
    reading = asyncio.create_task(feed.wait(followed()))
    await asyncio.sleep(1)
    reading.cancel()
    await asyncio.wait({reading})
    assert reading.cancelled()
    assert feed._timer is None
    feed.put(ACCEPTED)
