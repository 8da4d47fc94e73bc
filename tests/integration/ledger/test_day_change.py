"""F3: a day that begins while holds are open, at a running ledger whose clock is moved."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace
from nats.aio.client import Client as Nats

from penstock.bus.direct_get import StreamPosition, stream_position
from penstock.cli.local.nats_server import NatsServer
from penstock.contract.ledger.holds import HoldGranted, HoldRefused
from services.ledger import app
from tests.harness.processes.ledgers import LedgerUser, running_ledger
from tests.harness.suite.waiting import until

DAY = {"every_account": {"microusd_per_day": 10_000}}
DAY_NS = 86_400 * 10**9
CLOCK_EVERY_S = 0.05
LONG_MS = 36 * 3_600_000
"""Milliseconds for which holds are kept: beyond the change of the day."""


class MovedClock:
    """The clock of the JetStream server, and days in advance of it."""

    def __init__(self) -> None:
        self.days = 0

    async def position(self, nc: Nats, stream: str) -> StreamPosition:
        found = await stream_position(nc, stream)
        return replace(found, unix_ns=found.unix_ns + self.days * DAY_NS)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> MovedClock:
    moved = MovedClock()
    monkeypatch.setattr(app, "stream_position", moved.position)
    monkeypatch.setattr(app, "_CLOCK_EVERY_S", CLOCK_EVERY_S)
    return moved


@pytest.fixture
async def user(own_nats_server: NatsServer, own_nc: Nats, clock: MovedClock) -> AsyncIterator[LedgerUser]:
    assert clock.days == 0
    async with running_ledger(own_nats_server.url, DAY):
        yield LedgerUser(own_nc, "shop")


async def has(user: LedgerUser, spent: int, open_holds: int) -> bool:
    status = await user.status()
    return (status.spent_today_microusd, status.open_holds) == (spent, open_holds)


async def test_f3_a_hold_that_is_open_over_midnight_counts_in_the_day_in_which_it_was_granted(
    user: LedgerUser, clock: MovedClock
) -> None:
    deadline_ms = int(time.time() * 1000) + LONG_MS
    assert isinstance(await user.hold("spent", deadline_ms=deadline_ms), HoldGranted)
    await user.use("spent", 700)
    await user.hold("open", picousd=9_000 * 1_000_000, deadline_ms=deadline_ms)
    await until(lambda: has(user, 700, 1))
    assert isinstance(await user.hold("too much", deadline_ms=deadline_ms), HoldRefused)
    clock.days = 1
    await until(lambda: has(user, 0, 1))
    assert isinstance(
        await user.hold("new", picousd=10_000 * 1_000_000, deadline_ms=deadline_ms), HoldGranted
    )
    await user.use("open", 8_000)
    await until(lambda: has(user, 0, 1))
    await user.use("new", 300)
    await until(lambda: has(user, 300, 0))
