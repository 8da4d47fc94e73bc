"""E2: an account that fills the stream of replies loses its oldest ones, also while it stores nothing more."""

from __future__ import annotations

import asyncio

import pytest
from nats.aio.client import Client as Nats
from nats.js import api
from prometheus_client import CollectorRegistry

from penstock.bus.connection import ConnectionEvents
from penstock.contract import subjects
from penstock.contract.codec import encode
from penstock.contract.presence import AccountReplies
from penstock.contract.readers.subjects import reading
from penstock.contract.reply import ReaderBehind
from penstock.contract.streams import REPLIES
from penstock.runtime.epochs import DeliveryEpochs
from penstock.runtime.service import Bus
from services.router.metrics import RouterMetrics
from services.router.replies.retention import ReplyRetention
from services.router.replies.stored_replies import StoredReplies

MESSAGES = 30
SIZE = 30_000
BOUND = MESSAGES * SIZE * 16 // 15
"""The messages are 15/16 of it: large replies wait from there on."""


class Stream:
    """The stream with a small reply and, after it, the large ones of another account."""

    def __init__(self, nc: Nats) -> None:
        self.js = nc.jetstream()
        self.replies = StoredReplies()
        self.is_first = True
        bus = Bus(nc, self.js, ConnectionEvents(), DeliveryEpochs(nc))
        metrics = RouterMetrics(CollectorRegistry())
        self.retention = ReplyRetention(bus, self.replies, lambda: self.is_first, metrics)

    async def fill(self) -> None:
        await self.js.publish(subjects.reply("small", "c", "i"), b"kept")
        for number in range(MESSAGES):
            await self.js.publish(subjects.reply("large", "c", str(number)), bytes(SIZE))
        await asyncio.sleep(0.5)  # nothing is younger than what is kept

    def report(self) -> None:
        large = AccountReplies(account="large", stored=((5, MESSAGES * SIZE),), unfinished_s=0)
        self.replies.observe("w", (large,), asyncio.get_running_loop().time())

    async def state(self) -> api.StreamState:
        return (await self.js.stream_info(REPLIES.name)).state


async def empty_stream(nc: Nats, monkeypatch: pytest.MonkeyPatch) -> Stream:
    monkeypatch.setattr("services.router.replies.stored_replies.REPLIES_LEAST_AGE_S", 0.2)
    stream = Stream(nc)
    await stream.js.add_stream(
        name=REPLIES.name, subjects=list(REPLIES.subjects), max_bytes=BOUND, allow_direct=True
    )
    return stream


async def test_e2_replies_of_an_account_that_waits_for_room_are_deleted(
    own_nc: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = await empty_stream(own_nc, monkeypatch)
    await stream.fill()
    stream.report()
    assert await stream.retention._round() > 7 / 8

    state = await stream.state()
    assert (state.messages, state.first_seq) == (1, 1), "only the reply of the other account is left"


async def test_e2_what_workers_have_not_reported_yet_costs_no_other_account_its_reply(
    own_nc: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream is filled faster than workers report who fills it."""
    stream = await empty_stream(own_nc, monkeypatch)
    await stream.fill()
    assert await stream.retention._round() > 7 / 8
    assert (await stream.state()).messages == 1 + MESSAGES

    stream.report()
    await stream.retention._round()
    state = await stream.state()
    assert (state.messages, state.first_seq) == (1, 1)


async def test_e2_a_router_that_deletes_again_waits_for_reports_as_at_first(
    own_nc: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.router.replies.retention._REPORTED_S", 0.2)
    stream = await empty_stream(own_nc, monkeypatch)
    await stream.fill()
    for is_first in (True, False, True):
        stream.is_first = is_first
        await stream.retention._round()
        assert (await stream.state()).messages == 1 + MESSAGES
        await asyncio.sleep(0.3)
    await stream.retention._round()
    assert (await stream.state()).messages < 1 + MESSAGES


@pytest.mark.parametrize("last", [True, False])
async def test_e2_the_oldest_replies_make_room_also_among_unused_sequences(
    own_nc: Nats, monkeypatch: pytest.MonkeyPatch, *, last: bool
) -> None:
    """`last`: all of them are behind the replies, as those of workers that wait for room. No more is deleted for it."""
    monkeypatch.setattr("services.router.replies.retention._REPORTED_S", 0.0)
    stream = await empty_stream(own_nc, monkeypatch)
    for number in range(MESSAGES):
        await stream.js.publish(subjects.reply(f"a{number}", "c", "i"), bytes(SIZE))
        if not last or number == MESSAGES - 1:
            for _ in range(600 if last else 20):
                await stream.js.publish(subjects.reply("probe", "c", "i"), b"")
    await stream.js.purge_stream(REPLIES.name, subject=subjects.reply("probe", "c", "i"))
    await stream.js.publish(subjects.reply("a0", "c", "i"), b"")
    await asyncio.sleep(0.5)
    await stream.retention._round()
    await stream.retention._round()
    assert 3 / 4 < (await stream.state()).bytes / BOUND < 7 / 8


async def test_e2_a_reader_of_one_account_does_not_stop_the_deletion_for_all(
    own_nc: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = await empty_stream(own_nc, monkeypatch)
    await stream.retention.start()
    try:
        behind = encode(ReaderBehind(behind_s=REPLIES.max_age_s))
        await own_nc.publish(reading("a0", "c"), behind)
        for number in range(MESSAGES):
            await stream.js.publish(subjects.reply(f"a{number}", "c", "i"), bytes(SIZE))
        async with asyncio.timeout(10):
            while (await stream.state()).bytes > BOUND * 7 // 8:
                await asyncio.sleep(0.05)
    finally:
        await stream.retention.stop()
