"""E2: a client reports a reader that is behind, until it has caught up."""

from __future__ import annotations

import asyncio

import pytest
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from penstock.bus.connection import ConnectionEvents
from penstock.client.subscription import ReplySubscription
from penstock.contract.codec import READER_BEHIND
from penstock.contract.readers.subjects import reading
from tests.harness.requests.reply_events import delta
from tests.harness.suite.waiting import until

EVERY_S = 0.05


@pytest.fixture
async def replies(nc: Nats, unique: str, monkeypatch: pytest.MonkeyPatch) -> ReplySubscription:
    monkeypatch.setattr("penstock.client.subscription.READER_BEHIND_EVERY_S", EVERY_S)
    return ReplySubscription(nc, ConnectionEvents(), unique, "one")


@pytest.fixture
async def reported(nc: Nats, unique: str) -> list[float]:
    """The ages that routers receive."""
    found: list[float] = []

    async def note(msg: Msg) -> None:
        found.append(READER_BEHIND.decode(msg.data).behind_s)

    await nc.subscribe(reading(unique, "one"), cb=note)
    return found


async def test_e2_a_reader_that_is_behind_is_reported_again_and_again_and_once_that_it_caught_up(
    replies: ReplySubscription, reported: list[float]
):
    async with replies.feed("request", "one") as feed:
        feed.put(delta("first"), 10_000_000)
        feed.put(delta("second"))
        await until(lambda: len(reported) >= 3)
        assert reported == sorted(reported)
        assert reported[0] > 0
        assert await feed.get(1) is not None
        assert await feed.get(1) is None
        feed.note_store_read(asyncio.get_running_loop().time())
        await until(lambda: reported[-1] == 0)
        number = len(reported)
        await asyncio.sleep(4 * EVERY_S)
        assert len(reported) == number


async def test_e2_of_a_reader_that_ended_nothing_more_is_reported(
    replies: ReplySubscription, reported: list[float]
):
    async with replies.feed("request", "one") as feed:
        feed.put(delta("first"), 10_000_000)
        feed.put(delta("second"))
        await until(lambda: bool(reported))
    await until(lambda: reported[-1] == 0)
    number = len(reported)
    await asyncio.sleep(4 * EVERY_S)
    assert len(reported) == number
