"""F1: ledger processes that are killed or frozen: others take over within 3 s, and nobody writes who should not."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import nats.errors
import pytest
from nats.aio.client import Client as Nats

from penstock.bus.connection import connect
from penstock.bus.direct_get import read_all
from penstock.cli.local.nats_server import NatsServer
from penstock.contract import codec, subjects
from penstock.contract.events import BudgetAlerted
from penstock.contract.ledger.holds import HoldGranted, HoldRefused
from penstock.contract.presence import Presence
from penstock.contract.streams import AUDIT
from penstock.contract.subjects import partition_of
from penstock.runtime.heartbeat import read_presence
from services.ledger.partitions.assignment import PARTITIONS
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.ledgers import LedgerUser
from tests.harness.processes.process import Process
from tests.harness.suite.waiting import until

BUDGETS = {"every_account": {"microusd_per_day": 50_000}}


@pytest.fixture
async def own_nc(own_nats_server: NatsServer) -> AsyncIterator[Nats]:
    connection = await connect(own_nats_server.url, name="test")
    yield connection
    await connection.close()


@pytest.fixture
async def ledgers(own_nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[list[Process]]:
    """Three processes."""
    config = tmp_path / "catalogue.yaml"
    config.write_text(catalogue(budgets=BUDGETS))
    env = {
        "NATS_URL": own_nats_server.url,
        "PENSTOCK_CATALOGUE": str(config),
        "PENSTOCK_SIMULATOR_URL": "http://127.0.0.1:1",
    }
    started = [Process("services.ledger", env=env, log=tmp_path / f"ledger-{each}.log") for each in range(3)]
    await asyncio.gather(*(each.start() for each in started))
    yield started
    for each in started:
        if each.alive:
            each.signal(signal.SIGCONT)
        each.kill()


async def owners(nc: Nats) -> dict[str, str]:
    """Partition -> instance, where exactly one process says that it owns it."""
    known: list[Presence] = await read_presence(nc)
    latest_ms = max((each.at_ms for each in known), default=0)
    live = [each for each in known if latest_ms - each.at_ms < 2_000]
    named = [partition for each in live for partition in each.partitions]
    return {
        partition: each.instance
        for each in live
        for partition in each.partitions
        if named.count(partition) == 1
    }


async def all_owned(nc: Nats) -> bool:
    return (await owners(nc)).keys() == set(PARTITIONS)


async def owner_and_its_account(nc: Nats, ledgers: list[Process]) -> tuple[Process, LedgerUser]:
    """A process with a partition, and an account of that partition."""
    await until(lambda: all_owned(nc))
    by_partition = await owners(nc)
    account = next(f"shop{each}" for each in range(100) if by_partition[partition_of(f"shop{each}")])
    owner = by_partition[partition_of(account)]
    return next(each for each in ledgers if each.ready["instance"] == owner), LedgerUser(nc, account)


async def seconds_to_answer(user: LedgerUser, name: str) -> float:
    """How long a hold takes that is asked for again until it is answered, as routers do."""
    began_s = time.monotonic()
    while True:
        try:
            assert isinstance(await user.hold(name, timeout_s=0.3), HoldGranted)
        except nats.errors.Error:
            await asyncio.sleep(0.05)
        else:
            return time.monotonic() - began_s


async def test_f1_a_killed_ledger_is_replaced_within_three_seconds_and_nothing_is_lost(
    own_nc: Nats, ledgers: list[Process]
) -> None:
    owner, user = await owner_and_its_account(own_nc, ledgers)
    answers = await asyncio.gather(*(user.hold(f"before{each}") for each in range(40)))
    assert all(isinstance(each, HoldGranted) for each in answers)
    owner.kill()
    assert await seconds_to_answer(user, "after") < 3
    assert (await user.status()).held_microusd == 41_000
    await asyncio.gather(*(user.hold(f"more{each}") for each in range(20)))
    assert (await user.status()).held_microusd == 50_000


async def test_f1_a_frozen_ledger_writes_and_answers_nothing_when_it_comes_back(
    own_nc: Nats, ledgers: list[Process]
) -> None:
    owner, user = await owner_and_its_account(own_nc, ledgers)
    await user.hold("before")
    owner.signal(signal.SIGSTOP)
    late = asyncio.create_task(user.hold("late", timeout_s=30))  # in the socket of the frozen process
    await until(lambda: answered(user, "during"))
    full = await user.hold("large", picousd=48_000 * 1_000_000)
    assert isinstance(full, HoldGranted)
    owner.signal(signal.SIGCONT)
    await until(lambda: owns(own_nc, owner))
    assert not late.done()
    late.cancel()
    assert isinstance(await user.hold("too much"), HoldRefused)
    assert (await user.status()).held_microusd == 50_000


async def answered(user: LedgerUser, name: str) -> bool:
    try:
        return isinstance(await user.hold(name, timeout_s=0.3), HoldGranted)
    except nats.errors.Error:
        return False


async def owns(nc: Nats, process: Process) -> bool:
    """Whether the process has its partitions again."""
    return process.ready["instance"] in (await owners(nc)).values() and await all_owned(nc)


@pytest.mark.parametrize("after", ["the alert", "the usage"])
async def test_f3_alerts_are_stored_once_although_the_owner_is_killed_between(
    own_nc: Nats, ledgers: list[Process], after: str
) -> None:
    owner, user = await owner_and_its_account(own_nc, ledgers)
    await user.use("first", 40_500)
    if after == "the alert":
        await until(lambda: has_alerts(own_nc, [80]))
    owner.kill()
    await until(lambda: has_alerts(own_nc, [80]))
    await user.use("second", 10_000)
    await until(lambda: has_alerts(own_nc, [80, 100]))
    next_owner, _ = await owner_and_its_account(own_nc, ledgers)
    next_owner.kill()
    await user.use("third", 10)
    await until(lambda: has_spent(user, 50_510))
    assert await alerted(own_nc) == [80, 100]


async def has_alerts(nc: Nats, percents: list[int]) -> bool:
    return await alerted(nc) == percents


async def alerted(nc: Nats) -> list[int]:
    """The percents of all alerts, in the order in which they were stored."""
    wanted = subjects.EVENT.format(kind="budget", scope="*")
    events = [codec.EVENT.decode(msg.data) async for msg in read_all(nc, AUDIT.name, wanted)]
    return [each.percent for each in events if isinstance(each, BudgetAlerted)]


async def has_spent(user: LedgerUser, microusd: int) -> bool:
    try:
        return (await user.status()).spent_today_microusd == microusd
    except nats.errors.Error:  # no owner yet
        return False
