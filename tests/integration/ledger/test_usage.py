"""F1: stored usage is booked before the money of its hold is free, and once, also after its stream was made anew."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from nats.aio.client import Client as Nats

from penstock.bus.direct_get import Page, PageReader
from penstock.cli.local.nats_server import NatsServer
from penstock.contract import codec, subjects
from penstock.contract.ledger.holds import HoldGranted
from penstock.contract.streams import EVENTS, JOURNAL
from tests.harness.processes.ledgers import LedgerUser, running_ledger
from tests.harness.suite.waiting import until

DAY = {"every_account": {"microusd_per_day": 10_000}}


@pytest.fixture
def user(own_nc: Nats) -> LedgerUser:
    """An account with ten times the money of a usual hold."""
    return LedgerUser(own_nc, "shop")


async def spent(user: LedgerUser, microusd: int) -> bool:
    status = await user.status()
    return (status.spent_today_microusd, status.held_microusd) == (microusd, 0)


async def test_f1_an_overdue_hold_is_not_free_before_its_stored_usage_is_booked(
    user: LedgerUser, own_nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_ledger(own_nats_server.url, DAY):
        deadline_ms = int(time.time() * 1000) + 2_000  # it stops before that
        for number in range(10):
            await user.hold(f"old{number}", deadline_ms=deadline_ms)
    for number in range(10):
        await user.use(f"old{number}", 1_000)
    await until(lambda: asyncio.sleep(0, time.time() * 1000 > deadline_ms))
    read_on, read = asyncio.Event(), PageReader.read

    async def slow(reader: PageReader, *args: Any, **options: Any) -> Page:
        await read_on.wait()
        return await read(reader, *args, **options)

    monkeypatch.setattr(PageReader, "read", slow)
    starting = asyncio.create_task(book_slowly(read_on))
    async with running_ledger(own_nats_server.url, DAY):
        answers = [await user.hold(f"new{number}") for number in range(4)]
        assert not any(isinstance(each, HoldGranted) for each in answers)
        await starting
        await until(lambda: spent(user, 10_000))
        assert not isinstance(await user.hold("last"), HoldGranted)


async def book_slowly(read_on: asyncio.Event) -> None:
    """Let the usage be read some time after the ledger answers."""
    await asyncio.sleep(2)
    read_on.set()


async def test_f1_usage_is_booked_once_when_its_stream_was_made_anew(
    user: LedgerUser, own_nats_server: NatsServer, own_nc: Nats
) -> None:
    js = own_nc.jetstream()
    async with running_ledger(own_nats_server.url, DAY):
        for number in range(5):
            await user.use(f"old{number}", 100)
        await until(lambda: spent(user, 500))
        config = (await js.stream_info(EVENTS.name)).config
        await js.delete_stream(EVENTS.name)
        await js.add_stream(config)
        await user.use("new", 30)
        await until(lambda: spent(user, 530))

    assert await position(own_nc, user) == (await js.stream_info(EVENTS.name)).state.last_seq
    async with running_ledger(own_nats_server.url, DAY):
        await user.use("newest", 7)
        await until(lambda: spent(user, 537))


async def position(nc: Nats, user: LedgerUser) -> int:
    """How far the usage is booked by the journal."""
    last = await nc.jetstream().get_last_msg(JOURNAL.name, subjects.journal(user.partition), direct=False)
    return codec.JOURNAL.decode(last.data or b"").usage_sequence
