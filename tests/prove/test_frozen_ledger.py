"""F1: an owner that is frozen for half a minute was replaced, and writes and answers nothing when it wakes."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import nats.errors
import pytest
from nats.aio.client import Client as Nats

from penstock.bus.connection import connect
from penstock.bus.direct_get import read_all
from penstock.contract import codec, subjects
from penstock.contract.ledger.holds import HoldGranted, HoldRefused
from penstock.contract.ledger.journal import JournalEntry, TookOver
from penstock.contract.streams import JOURNAL
from penstock.runtime.heartbeat import read_presence
from services.ledger.verification.verifier import verify_books
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.ledgers import MICROUSD, LedgerUser
from tests.harness.processes.process import Process
from tests.harness.processes.system import running_system
from tests.harness.records.ledger_books import owner_of
from tests.harness.suite.proofs import report_figures
from tests.harness.suite.waiting import until

FROZEN_S = 30.0
LIMIT_MICROUSD = 50_000
LATE = 20
"""Holds that wait in the socket of the frozen process."""


@pytest.mark.prove
@pytest.mark.timeout(150)
async def test_f1_an_owner_that_was_frozen_for_30_s_writes_and_answers_nothing(tmp_path: Path) -> None:
    config = catalogue(budgets={"every_account": {"microusd_per_day": LIMIT_MICROUSD}})
    async with running_system(tmp_path, config=config, ledgers=3) as system:
        nc = await connect(system.nats.url, name="test")
        user = LedgerUser(nc, "shop")
        deadline_ms = int(time.time() * 1000) + 600_000
        owner = await owner_of(system, user.partition)
        assert isinstance(await user.hold("before", deadline_ms=deadline_ms), HoldGranted)

        owner.signal(signal.SIGSTOP)
        frozen_at_s = time.monotonic()
        late = [
            asyncio.create_task(user.hold(f"late{number}", timeout_s=120, deadline_ms=deadline_ms))
            for number in range(LATE)
        ]
        taken_s = await until(lambda: answered(user, "during", deadline_ms))
        rest = (LIMIT_MICROUSD - 2_000) * MICROUSD
        assert isinstance(await user.hold("rest", picousd=rest, deadline_ms=deadline_ms), HoldGranted)
        refused = 0
        while time.monotonic() < frozen_at_s + FROZEN_S:
            assert isinstance(await user.hold("too much", deadline_ms=deadline_ms), HoldRefused)
            refused += 1
            await asyncio.sleep(0.5)
        before = await journal(nc, user.partition)

        owner.signal(signal.SIGCONT)
        await until(lambda: owns(nc, owner, user.partition))
        written = (await journal(nc, user.partition))[len(before) :]
        assert isinstance(await user.hold("too much", deadline_ms=deadline_ms), HoldRefused)
        status = await user.status()
        books = await verify_books(nc, int(time.time()))
        answered_late = sum(each.done() for each in late)
        for each in late:
            each.cancel()
        await nc.close()
    report_figures(
        f"taken over after {taken_s:.1f} s, {refused} refusals in {FROZEN_S:g} s; entries after the end of the "
        f"freeze: {len(written)}; late holds answered: {answered_late} of {LATE}"
    )
    assert taken_s < 3.5
    assert [type(entry) for entry in written] == [TookOver]
    assert answered_late == 0
    assert (status.open_holds, status.held_microusd) == (3, LIMIT_MICROUSD)
    assert books.agrees, books


async def answered(user: LedgerUser, name: str, deadline_ms: int) -> bool:
    try:
        return isinstance(await user.hold(name, timeout_s=0.3, deadline_ms=deadline_ms), HoldGranted)
    except nats.errors.Error:
        return False


async def journal(nc: Nats, partition: str) -> list[JournalEntry]:
    batches = [
        codec.JOURNAL.decode(msg.data)
        async for msg in read_all(nc, JOURNAL.name, subjects.journal(partition))
    ]
    return [entry for batch in batches for entry in batch.entries]


async def owns(nc: Nats, process: Process, partition: str) -> bool:
    """Whether the process, and no other one, says that it owns the partition."""
    owning = [each.instance for each in await read_presence(nc) if partition in each.partitions]
    return owning == [process.ready["instance"]]
