"""F1: a journal that was damaged or forged: nothing that was spent is forgotten, and a forged message stops nobody."""

from __future__ import annotations

import time

import nats.errors
import pytest
from nats.aio.client import Client as Nats

from penstock.cli.local.nats_server import NatsServer
from penstock.contract import codec, subjects
from penstock.contract.ledger.holds import HoldGranted, HoldRefused
from penstock.contract.ledger.journal import JournalBatch, TookOver
from penstock.contract.streams import JOURNAL, SNAPSHOTS
from services.ledger import app
from services.ledger.partitions import snapshotter
from services.ledger.partitions.assignment import PARTITIONS
from tests.harness.processes.ledgers import LedgerUser, RunningLedger, running_ledger
from tests.harness.suite.waiting import until

DAY = {"every_account": {"microusd_per_day": 10_000}}
OF_A_LATER_VERSION = b'{"type":"journal_batch","entries":[[99,"shop",1]],"usage_sequence":0,"v":2}'


@pytest.fixture
def url(own_nats_server: NatsServer) -> str:
    return own_nats_server.url


@pytest.fixture
def user(own_nc: Nats) -> LedgerUser:
    return LedgerUser(own_nc, "shop")


@pytest.fixture
def fast_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start does not wait for a partition that cannot be served."""
    monkeypatch.setattr(app, "_FIRST_PARTITIONS_S", 1.0)


@pytest.fixture
async def journal(url: str, user: LedgerUser) -> str:
    """The subject of a journal with three holds."""
    async with running_ledger(url, DAY):
        for name in ("one", "two", "three"):
            await user.hold(name)
    return subjects.journal(user.partition)


async def held(user: LedgerUser) -> int:
    return (await user.status()).held_microusd


async def holds(user: LedgerUser, name: str) -> bool:
    try:
        return isinstance(await user.hold(name, timeout_s=1), HoldGranted)
    except nats.errors.Error:  # it loads the partition again
        return False


async def is_not_served(
    ledger: RunningLedger, user: LedgerUser, log: pytest.LogCaptureFixture, why: str
) -> None:
    await until(lambda: ledger.owned == set(PARTITIONS) - {user.partition})
    await until(lambda: any(why in each.getMessage() for each in log.records if each.levelname == "ERROR"))


@pytest.mark.parametrize("forged", [b"forged", b'{"type":"forged"}'])
async def test_f1_a_forged_message_in_the_journal_stops_nothing(
    user: LedgerUser, url: str, own_nc: Nats, forged: bytes
) -> None:
    subject = subjects.journal(user.partition)
    async with running_ledger(url, DAY) as ledger:
        await user.hold("one")
        await own_nc.jetstream().publish(subject, forged)
        await until(lambda: holds(user, "two"))
        assert ledger.metric("penstock_ledger_invalid_journal_total") == 1
        await own_nc.jetstream().publish(subject, forged)
    async with running_ledger(url, DAY):
        assert await held(user) == 2_000
        await user.hold("three")
        assert await held(user) == 3_000


async def test_f1_a_batch_of_a_later_version_is_not_skipped(
    user: LedgerUser, url: str, own_nc: Nats, journal: str, caplog: pytest.LogCaptureFixture, fast_start: None
) -> None:
    ack = await own_nc.jetstream().publish(journal, OF_A_LATER_VERSION)
    async with running_ledger(url, DAY) as ledger:
        await is_not_served(ledger, user, caplog, f"nats stream rmm LLM_JOURNAL {ack.seq}")
        await own_nc.jetstream().delete_msg(JOURNAL.name, ack.seq)
        await until(lambda: ledger.owned == set(PARTITIONS))
        assert await held(user) == 3_000


async def test_f1_a_missing_batch_is_noticed(
    user: LedgerUser, url: str, own_nc: Nats, journal: str, caplog: pytest.LogCaptureFixture, fast_start: None
) -> None:
    last = (await own_nc.jetstream().get_last_msg(JOURNAL.name, journal)).seq
    await own_nc.jetstream().delete_msg(JOURNAL.name, last - 1)
    async with running_ledger(url, DAY) as ledger:
        await is_not_served(ledger, user, caplog, f"has no batch {last - 1}")


async def test_f1_an_overwritten_batch_is_noticed(
    user: LedgerUser, url: str, own_nc: Nats, journal: str, caplog: pytest.LogCaptureFixture, fast_start: None
) -> None:
    js = own_nc.jetstream()
    overwritten = (await js.publish(journal, b"\0" * 100)).seq
    following = JournalBatch(entries=(TookOver(instance="x", at_ms=1),), previous=overwritten)
    await js.publish(journal, codec.encode(following))
    async with running_ledger(url, DAY) as ledger:
        await is_not_served(ledger, user, caplog, f"has no batch {overwritten}")


async def test_f1_holds_are_refused_before_the_journal_deletes_what_no_snapshot_has(
    user: LedgerUser, url: str, own_nc: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_ROOM_IN_JOURNAL_EVERY_S", 0.1)
    monkeypatch.setattr(snapshotter, "_RETRY_S", 0.2)
    js, deadline_ms = own_nc.jetstream(), int(time.time() * 1000) + 60_000
    async with running_ledger(url, DAY):
        await user.hold("one", deadline_ms=deadline_ms)
        snapshots = (await js.stream_info(SNAPSHOTS.name)).config
        await js.update_stream(snapshots.evolve(max_bytes=1))
        journal = (await js.stream_info(JOURNAL.name)).config
        await js.update_stream(
            journal.evolve(max_bytes=(await js.stream_info(JOURNAL.name)).state.bytes + 200)
        )

        async def refuses() -> bool:
            answer = await user.hold("one", deadline_ms=deadline_ms)  # it stores nothing
            return isinstance(answer, HoldRefused) and answer.code == "budget_unavailable"

        await until(refuses)
        assert (await js.stream_info(JOURNAL.name)).state.first_seq == 1
        await js.update_stream(snapshots.evolve())
        await until(lambda: holds(user, "two"))
        assert await held(user) == 2_000
