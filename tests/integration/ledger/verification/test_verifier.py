"""F2: `penstock ledger verify` finds every disagreement between journal, snapshot, history and recorded usage."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace
from nats.aio.client import Client as Nats

from penstock.bus.direct_get import read_all, sequence_of, stream_position
from penstock.cli.__main__ import main
from penstock.contract import codec, subjects
from penstock.contract.events import UsageRecorded
from penstock.contract.ledger.journal import JournalBatch, JournalEntry, LedgerSnapshot, Settled
from penstock.contract.ledger.spend_address import SpendAddress
from penstock.contract.streams import EVENTS, JOURNAL, SNAPSHOTS, SPEND_HOURS
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure
from penstock.runtime.provisioning.write_probe import WriteProbe
from services.ledger.partitions.partition_state import PartitionState
from services.ledger.partitions.snapshotter import SnapshotPolicy
from services.ledger.spend.history import listing_of
from services.ledger.spend.nats_store import NatsHistory
from services.ledger.spend.rows import decode_rows, encode_rows
from services.ledger.verification.report import PartitionFindings, Verification
from services.ledger.verification.stored_books import StoredBooks
from services.ledger.verification.verifier import verify_books
from tests.harness.processes.ledgers import LedgerUser, running_ledger
from tests.harness.suite.waiting import until

ACCOUNT = "shop"
PARTITION = subjects.partition_of(ACCOUNT)
BUDGETS = {"every_account": {"microusd_per_day": 1_000_000}}
EACH_CHANGE = SnapshotPolicy(entries=1, every_s=0.1)


@pytest.fixture
async def nc(own_nc: Nats, own_nats_server) -> AsyncIterator[Nats]:
    async with six_bookings(own_nc, own_nats_server.url):
        yield own_nc


@asynccontextmanager
async def six_bookings(own_nc: Nats, url: str) -> AsyncIterator[None]:
    """A ledger that has booked six requests of two accounts, one after the other, and saves each change; write probes
    come before, between and after them.
    """
    await ensure(own_nc.jetstream(), JetStreamPlan(ack_wait_s=10))
    await leave_probes(own_nc)
    async with running_ledger(url, BUDGETS, snapshots=EACH_CHANGE):
        for account in (ACCOUNT, "other"):
            user = LedgerUser(own_nc, account)
            for number in range(3):
                await user.hold(f"r{number}")
                await user.use(f"r{number}", 100 + number)
                await until(lambda user=user: has_no_hold(user))
                await leave_probes(own_nc)
            await user.hold("open")
        await until(lambda: has_written(own_nc, 3))
        await leave_probes(own_nc)
        yield


async def leave_probes(nc: Nats) -> None:
    """As processes do while nothing is written: each probe message is deleted, and its sequence stays unused."""
    probe = WriteProbe(nc.jetstream(), [JOURNAL], [])
    before = await stream_position(nc, JOURNAL.name)
    for _ in range(4):  # the first is only a look
        await probe.probe()
    after = await stream_position(nc, JOURNAL.name)
    assert after.last_sequence - before.last_sequence >= 2
    assert after.messages < after.last_sequence


async def has_no_hold(user: LedgerUser) -> bool:
    return (await user.status()).open_holds == 0


async def has_written(nc: Nats, attempts: int) -> bool:
    stored = [row for _, data in await parts(nc) for row in decode_rows(data)]
    return sum(row.amounts.attempts for row in stored) == attempts


async def parts(nc: Nats) -> list[tuple[SpendAddress, bytes]]:
    history = NatsHistory(nc)
    listing = await listing_of(history, PARTITION)
    hours = [hour for month in listing.months(PARTITION) for hour in listing.hours(month)]
    deltas = [delta for hour in hours for delta in listing.deltas_of(hour, 0, None)]
    return list((await history.read([each for delta in deltas for each in delta.addresses()])).items())


async def verify(nc: Nats) -> tuple[Verification, PartitionFindings]:
    found = await verify_books(nc, int(time.time()))
    return found, next(each for each in found.partitions if each.partition == PARTITION)


async def journal(nc: Nats, kind: type) -> list[tuple[int, JournalBatch]]:
    """The messages with entries of a kind."""
    found = [
        (sequence_of(msg), codec.JOURNAL.decode(msg.data))
        async for msg in read_all(nc, JOURNAL.name, subjects.journal(PARTITION))
    ]
    return [
        (sequence, batch)
        for sequence, batch in found
        if any(isinstance(each, kind) for each in batch.entries)
    ]


async def test_f2_the_books_of_a_running_ledger_agree(nc: Nats) -> None:
    found, mine = await verify(nc)
    assert found.agrees, found
    assert (mine.bookings, mine.usage_events, mine.waiting_events) == (3, 3, 0)
    assert mine.history_rows >= 1
    assert mine.not_compared == []
    assert {each.partition for each in found.partitions} == {*map(str, range(8)), "system"}


async def test_f2_a_changed_chunk_of_the_history_is_found(nc: Nats) -> None:
    address, data = (await parts(nc))[0]
    rows = decode_rows(data)
    rows[0].amounts.picousd += 1
    await NatsHistory(nc).write(address, encode_rows(rows))
    found, mine = await verify(nc)
    assert not found.agrees
    assert any("picousd" in each and "in the history" in each for each in mine.differences)
    assert all(not each.differences for each in found.partitions if each is not mine)


async def test_f2_a_damaged_and_a_lost_chunk_of_the_history_are_found(nc: Nats) -> None:
    address, data = (await parts(nc))[0]
    await NatsHistory(nc).write(address, b"damaged")
    found, mine = await verify(nc)
    assert any(address.subject in each for each in mine.differences)
    await NatsHistory(nc).delete(address)
    found, mine = await verify(nc)
    assert not found.agrees
    assert "attempts" in mine.differences[0]
    await NatsHistory(nc).write(address, data)
    found, _ = await verify(nc)
    assert found.agrees


async def test_f2_a_lost_message_of_the_journal_is_found(nc: Nats) -> None:
    sequence, _ = (await journal(nc, Settled))[1]
    await nc.jetstream().delete_msg(JOURNAL.name, sequence)
    found, mine = await verify(nc)
    assert found.deleted_journal_messages == 1
    text = "\n".join(mine.differences)
    assert f"the journal message {sequence} was deleted" in text
    assert "the state differs" in text
    assert "in the history" in text
    assert "is recorded and not booked" in text


async def test_f2_the_lost_end_of_the_journal_is_found_with_its_owner_and_without(
    own_nc: Nats, own_nats_server
) -> None:
    async with six_bookings(own_nc, own_nats_server.url):
        sequence, _ = (await journal(own_nc, JournalEntry))[-1]
        await own_nc.jetstream().delete_msg(JOURNAL.name, sequence)
        found, mine = await verify(own_nc)
        assert (found.deleted_journal_messages, mine.deleted_messages) == (1, 1)
        assert f"the journal message {sequence} was deleted" in mine.differences
    found, _ = await verify(own_nc)
    assert found.deleted_journal_messages == 1
    assert not found.agrees


async def test_f2_each_lost_message_of_any_partition_is_counted(nc: Nats) -> None:
    """Also the first one of a partition, where earlier messages of others are still stored."""
    mine = [sequence for sequence, _ in await journal(nc, JournalEntry)]
    first: dict[str, int] = {}
    async for msg in read_all(nc, JOURNAL.name, subjects.JOURNAL_ALL):
        first.setdefault((msg.headers or {})["Nats-Subject"], sequence_of(msg))
    assert len(first) == subjects.LEDGER_PARTITIONS + 1
    lost = {mine[2], mine[4], max(first.values())}
    for sequence in lost:
        await nc.jetstream().delete_msg(JOURNAL.name, sequence)
    found, _ = await verify(nc)
    assert found.deleted_journal_messages == len(lost)
    named = [line for each in found.partitions for line in each.differences if "was deleted" in line]
    assert sorted(named) == sorted(f"the journal message {sequence} was deleted" for sequence in lost)


async def test_f2_a_booking_that_is_in_the_journal_twice_is_found(nc: Nats) -> None:
    _, batch = (await journal(nc, Settled))[0]
    (booking,) = [entry for entry in batch.entries if isinstance(entry, Settled)]
    await nc.jetstream().publish(subjects.journal(PARTITION), codec.encode(JournalBatch(entries=(booking,))))
    found, mine = await verify(nc)
    assert not found.agrees
    assert mine.differences == [f"attempt {booking.attempt} of {booking.id} is booked more than once"]


async def test_f2_usage_that_was_not_booked_or_with_other_amounts_is_found(
    own_nc: Nats, own_nats_server
) -> None:
    async with six_bookings(own_nc, own_nats_server.url):
        pass  # a running ledger would book what is forged here
    nc = own_nc
    events = [
        (sequence_of(msg), codec.USAGE.decode(msg.data))
        async for msg in read_all(nc, EVENTS.name, subjects.usage(ACCOUNT))
    ]
    usage = next(event for _, event in events if isinstance(event, UsageRecorded))
    forged = codec.encode(JournalBatch(entries=(), usage_sequence=2**40))
    await nc.jetstream().publish(
        subjects.usage(ACCOUNT), codec.encode(usage), headers={"Nats-Msg-Id": "again"}
    )
    await nc.jetstream().publish(subjects.journal(PARTITION), forged)
    _, mine = await verify(nc)
    assert mine.usage_events == 4
    assert not [each for each in mine.differences if "recorded" in each], (
        "it was recorded twice and booked once"
    )

    await nc.jetstream().purge_stream(EVENTS.name, subject=subjects.usage(ACCOUNT))
    changed = replace(usage, output_tokens=usage.output_tokens + 1)
    unknown = replace(usage, id="never-booked", hold_id=None)
    for number, each in enumerate((changed, unknown)):
        await nc.jetstream().publish(
            subjects.usage(ACCOUNT), codec.encode(each), headers={"Nats-Msg-Id": f"forged{number}"}
        )
    _, mine = await verify(nc)
    text = "\n".join(mine.differences)
    assert f"attempt 1 of {usage.hold_id} is booked with" in text
    assert "never-booked is recorded and not booked" in text


async def test_f2_a_snapshot_of_another_state_and_an_incomplete_one_are_found(nc: Nats) -> None:
    js = nc.jetstream()
    stored = await StoredBooks(nc).snapshot(PARTITION)
    assert stored is not None
    data = PartitionState(PARTITION).snapshot().data
    head = LedgerSnapshot(
        journal_sequence=stored.journal_sequence,
        usage_sequence=stored.usage_sequence,
        parts=1,
        sha256=hashlib.sha256(data).hexdigest(),
        at_ms=0,
    )
    part = subjects.snapshot(PARTITION, f"{stored.journal_sequence}-0")
    await js.publish(part, data)
    await js.publish(subjects.snapshot(PARTITION, "head"), codec.encode(head))
    _, mine = await verify(nc)
    assert any(f"accounts {ACCOUNT}" in each for each in mine.differences)
    await js.purge_stream(SNAPSHOTS.name, subject=part)
    found, mine = await verify(nc)
    assert not found.agrees
    assert mine.differences == [f"the snapshot of partition {PARTITION} is damaged or incomplete"]


async def test_f2_what_has_aged_out_of_the_journal_is_named_and_no_difference(nc: Nats) -> None:
    last, _ = (await journal(nc, Settled))[-1]
    await nc.jetstream().purge_stream(JOURNAL.name, seq=last)
    found, mine = await verify(nc)
    assert found.agrees, mine.differences
    assert any("not stored any more" in each for each in mine.not_compared)


async def test_f2_a_stopped_ledger_is_verified_as_far_as_its_books_go(own_nc: Nats, own_nats_server) -> None:
    await ensure(own_nc.jetstream(), JetStreamPlan(ack_wait_s=10))
    async with running_ledger(own_nats_server.url, BUDGETS, snapshots=EACH_CHANGE):
        user = LedgerUser(own_nc, ACCOUNT)
        await user.hold("one")
        await user.use("one", 100)
        await until(lambda: has_written(own_nc, 1))
    found, mine = await verify(own_nc)
    assert found.agrees, mine.differences
    assert mine.bookings == 1
    assert any("no ledger owns the partition" in each for each in mine.not_compared)


async def test_f2_the_commands_show_partitions_and_differences(
    nc: Nats, own_nats_server, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("NATS_URL", own_nats_server.url)

    async def run(line: str) -> tuple[int, str]:
        code = await asyncio.to_thread(main, line.split())
        return code, capsys.readouterr().out

    code, text = await run("ledger verify")
    assert code == 0, text
    assert "no difference between" in text
    address, _ = (await parts(nc))[0]
    await nc.jetstream().purge_stream(SPEND_HOURS.name, subject=address.subject)
    code, text = await run("ledger verify")
    assert code == 1
    assert "\ndifferences between" in text
    code, text = await run("ledger verify --json")
    assert code == 1
    assert json.loads(text)["agrees"] is False
    _, text = await run("ledger status --json")
    mine = next(each for each in json.loads(text) if each["partition"] == PARTITION)
    assert mine["journal_sequence"] >= mine["snapshot_sequence"] > 0
    assert mine["waiting_usage"] == 0
    _, text = await run("ledger status")
    assert "snapshot age" in text
