"""E2: an account that fills the stream of replies loses its oldest ones, also while it stores nothing more."""

from __future__ import annotations

import asyncio

import pytest
from nats.aio.client import Client as Nats
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


async def stream_and_retention(
    nc: Nats, monkeypatch: pytest.MonkeyPatch
) -> tuple[ReplyRetention, StoredReplies]:
    monkeypatch.setattr("services.router.replies.stored_replies.REPLIES_LEAST_AGE_S", 0.2)
    js = nc.jetstream()
    await js.add_stream(
        name=REPLIES.name, subjects=list(REPLIES.subjects), max_bytes=BOUND, allow_direct=True
    )
    replies = StoredReplies()
    bus = Bus(nc, js, ConnectionEvents(), DeliveryEpochs(nc))
    return ReplyRetention(bus, replies, lambda: True, RouterMetrics(CollectorRegistry())), replies


async def test_e2_replies_of_an_account_that_waits_for_room_are_deleted(
    own_nc: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    retention, replies = await stream_and_retention(own_nc, monkeypatch)
    js = own_nc.jetstream()
    await js.publish(subjects.reply("small", "c", "i"), b"kept")
    for number in range(MESSAGES):
        await js.publish(subjects.reply("large", "c", str(number)), bytes(SIZE))
    large = AccountReplies(account="large", stored=((5, MESSAGES * SIZE),), unfinished_s=0)
    replies.observe("w", (large,), asyncio.get_running_loop().time())

    await asyncio.sleep(0.5)  # nothing of the account is younger than what is kept
    assert await retention._round() > 7 / 8

    state = (await js.stream_info(REPLIES.name)).state
    assert (state.messages, state.first_seq) == (1, 1), "only the reply of the other account is left"


async def test_e2_what_workers_have_not_reported_yet_costs_no_other_account_its_reply(
    own_nc: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream is filled faster than workers report who fills it."""
    retention, replies = await stream_and_retention(own_nc, monkeypatch)
    js = own_nc.jetstream()
    await js.publish(subjects.reply("small", "c", "i"), b"kept")
    for number in range(MESSAGES):
        await js.publish(subjects.reply("large", "c", str(number)), bytes(SIZE))
    await asyncio.sleep(0.5)
    assert await retention._round() > 7 / 8
    assert (await js.stream_info(REPLIES.name)).state.messages == 1 + MESSAGES

    large = AccountReplies(account="large", stored=((5, MESSAGES * SIZE),), unfinished_s=0)
    replies.observe("w", (large,), asyncio.get_running_loop().time())
    await retention._round()
    state = (await js.stream_info(REPLIES.name)).state
    assert (state.messages, state.first_seq) == (1, 1)


async def test_e2_a_reader_of_one_account_does_not_stop_the_deletion_for_all(
    own_nc: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    retention, _ = await stream_and_retention(own_nc, monkeypatch)
    js = own_nc.jetstream()
    await retention.start()
    try:
        behind = encode(ReaderBehind(behind_s=REPLIES.max_age_s))
        await own_nc.publish(reading("a0", "c"), behind)
        for number in range(MESSAGES):
            await js.publish(subjects.reply(f"a{number}", "c", "i"), bytes(SIZE))
        async with asyncio.timeout(10):
            while (await js.stream_info(REPLIES.name)).state.bytes > BOUND * 7 // 8:
                await asyncio.sleep(0.05)
    finally:
        await retention.stop()
