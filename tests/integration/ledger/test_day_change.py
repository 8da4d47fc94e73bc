"""F3: a day that begins while holds are open, at a running ledger whose clock is moved."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client as Nats

from penstock.cli.local.nats_server import NatsServer
from penstock.contract.ledger.holds import HoldGranted, HoldRefused
from tests.harness.processes.ledgers import LedgerUser, RunningLedger, running_ledger
from tests.harness.suite.waiting import until

DAY = {"every_account": {"microusd_per_day": 10_000}}
DAY_NS = 86_400 * 10**9
LONG_MS = 36 * 3_600_000
"""Milliseconds for which holds are kept: beyond the change of the day."""


@pytest.fixture
async def ledger(own_nats_server: NatsServer) -> AsyncIterator[RunningLedger]:
    async with running_ledger(own_nats_server.url, DAY) as running:
        yield running


@pytest.fixture
def user(ledger: RunningLedger, own_nc: Nats) -> LedgerUser:
    assert ledger.server_time.known
    return LedgerUser(own_nc, "shop")


def begin_next_day(ledger: RunningLedger) -> None:
    now_ns = ledger.server_time.now_ns()
    ledger.server_time.observe(ledger.server_time.unix_ns() + DAY_NS, now_ns, now_ns)


async def has(user: LedgerUser, spent: int, open_holds: int) -> bool:
    status = await user.status()
    return (status.spent_today_microusd, status.open_holds) == (spent, open_holds)


async def test_f3_a_hold_that_is_open_over_midnight_counts_in_the_day_in_which_it_was_granted(
    user: LedgerUser, ledger: RunningLedger
) -> None:
    deadline_ms = int(time.time() * 1000) + LONG_MS
    assert isinstance(await user.hold("spent", deadline_ms=deadline_ms), HoldGranted)
    await user.use("spent", 700)
    await user.hold("open", picousd=9_000 * 1_000_000, deadline_ms=deadline_ms)
    await until(lambda: has(user, 700, 1))
    assert isinstance(await user.hold("too much", deadline_ms=deadline_ms), HoldRefused)
    begin_next_day(ledger)
    await until(lambda: has(user, 0, 1))
    assert isinstance(
        await user.hold("new", picousd=10_000 * 1_000_000, deadline_ms=deadline_ms), HoldGranted
    )
    await user.use("open", 8_000)
    await until(lambda: has(user, 0, 1))
    await user.use("new", 300)
    await until(lambda: has(user, 300, 0))
