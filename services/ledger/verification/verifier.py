"""Compares the books of each partition; the system may run meanwhile."""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from nats.aio.client import Client as Nats

from penstock.contract.ledger.spend import RecentSpend, SpendRow
from penstock.contract.subjects import LEDGER_PARTITIONS, SYSTEM_PARTITION
from services.ledger.partitions.partition_state import PartitionState
from services.ledger.partitions.snapshots import SnapshotDamaged
from services.ledger.spend.grouping import DAY_S, next_month_s, period_start_s
from services.ledger.spend.history import GRAINS, HistoryChanged, listing_of, read_chunks
from services.ledger.spend.nats_store import NatsHistory, NatsOwners
from services.ledger.spend.plan import Range, wanted
from services.ledger.spend.rows import HOUR_S
from services.ledger.verification.comparison import (
    Bookings,
    JournalSums,
    compare_rows,
    compare_states,
    compare_usage,
    recorded_booking,
)
from services.ledger.verification.continuity import JournalContinuity
from services.ledger.verification.report import PartitionFindings, Verification
from services.ledger.verification.stored_books import StoredBooks, journal_base

__all__ = ["verify_books"]

_TRIES: Final = 5
_END_S: Final = 2**40
_KEPT_S: Final = {"hour": 34 * DAY_S, "day": 399 * DAY_S, "month": _END_S}
"""Seconds for which every hour, day and month is surely stored."""


class _Start(Struct, frozen=True):
    """What is read before the journal, so that the journal has at least as much."""

    restored: PartitionState | None
    """From the snapshot; None: there is none, or it cannot be read."""
    recent: RecentSpend | None
    base: int
    """Added to the sequences of the stream, as in `LedgerSnapshot`."""
    is_complete: bool
    """The first batch of the partition is still stored, or there never was one."""
    written: int
    applied: int


async def verify_books(nc: Nats, now_s: int) -> Verification:
    """Raises nats errors and TimeoutError, and HistoryChanged when sums are made all the time."""
    verifier = _Verifier(nc, await StoredBooks(nc).journal_oldest_s(), now_s)
    partitions = [*map(str, range(LEDGER_PARTITIONS)), SYSTEM_PARTITION]
    found = [await verifier.verify(partition) for partition in partitions]
    return Verification(
        partitions=found, deleted_journal_messages=sum(each.deleted_messages for each in found)
    )


class _Verifier:
    def __init__(self, nc: Nats, oldest_s: int, now_s: int) -> None:
        """`oldest_s`: when the oldest stored message of the journal was stored."""
        self._books = StoredBooks(nc)
        self._history = NatsHistory(nc)
        self._owners = NatsOwners(nc)
        self._oldest_s = oldest_s
        self._now_s = now_s

    async def verify(self, partition: str) -> PartitionFindings:
        for attempt in range(_TRIES):
            found = PartitionFindings(partition=partition)
            try:
                await self._verify(found)
            except HistoryChanged:
                if attempt == _TRIES - 1:
                    raise
            else:
                break
        return found

    async def _verify(self, found: PartitionFindings) -> None:
        start = await self._start(found)
        stored = {} if found.partition == SYSTEM_PARTITION else await self._stored(found, start)
        bookings, sums = Bookings(), JournalSums(start.written, start.applied)
        whole = PartitionState(found.partition)
        continuity = JournalContinuity()
        async for stored_sequence, batch in self._books.journal(found.partition):
            sequence = start.base + stored_sequence
            found.batches += 1
            continuity.add(batch, sequence)
            if batch is None:
                found.differences.append(f"the journal message {sequence} cannot be read")
                continue
            found.entries += len(batch.entries)
            whole.replay(batch, sequence)
            if start.restored is not None and sequence > start.restored.journal_sequence:
                start.restored.replay(batch, sequence)
            sums.add(batch, sequence)
            for entry in batch.entries:
                bookings.add(entry)
        found.bookings = len(bookings.by_attempt)
        await self._find_missing(found, continuity, start)
        self._compare_states(found, whole, start)
        if found.partition != SYSTEM_PARTITION:
            self._compare_history(found, sums, stored, start)
            await self._compare_usage(found, bookings, whole.usage_sequence, is_complete=start.is_complete)

    async def _find_missing(
        self, found: PartitionFindings, continuity: JournalContinuity, start: _Start
    ) -> None:
        stored_from = start.base + await self._books.journal_stored_from()
        in_snapshot = 0 if start.restored is None else start.restored.journal_sequence
        missing = [
            sequence
            for sequence in continuity.missing(max(start.applied, in_snapshot), stored_from)
            if not await self._books.is_stored(sequence - start.base)
        ]
        found.deleted_messages = len(missing)
        found.differences += [f"the journal message {sequence} was deleted" for sequence in missing]

    async def _start(self, found: PartitionFindings) -> _Start:
        recent = (await self._owners.recent([found.partition], None)).get(found.partition)
        restored = None
        try:
            snapshot = await self._books.snapshot(found.partition)
            if snapshot is not None:
                restored = PartitionState.restored(found.partition, snapshot)
        except (SnapshotDamaged, ValueError) as error:
            found.differences.append(str(error))
        first = await self._books.first_batch(found.partition)
        base = (
            0 if restored is None else journal_base(restored.journal_sequence, restored.journal_base, first)
        )
        is_complete = base == 0 and (restored is None if first is None else first[1].previous == 0)
        if recent is not None:
            return _Start(restored, recent, base, is_complete, recent.since, recent.through)
        written = 0 if restored is None else restored.spend.written
        listing = await listing_of(self._history, found.partition)
        written = max(written, listing.summed_through(found.partition))
        return _Start(restored, None, base, is_complete, written, written)

    async def _stored(self, found: PartitionFindings, start: _Start) -> dict[str, list[SpendRow]]:
        """The rows of the history, as sums of each grain where there are any."""
        listing = await listing_of(self._history, found.partition)
        rows: dict[str, list[SpendRow]] = {}
        for grain in GRAINS:
            within = Range(self._complete_from_s(grain, start), _END_S, grain)
            chunks = wanted(listing, found.partition, within, start.written)
            if any(chunk.number > start.written for chunk in chunks):
                if start.recent is not None:
                    raise HistoryChanged(found.partition)
                found.not_compared.append(
                    f"spend by {grain}: no ledger owns the partition, and it has newer sums"
                )
                continue
            try:
                rows[grain] = [row async for part in read_chunks(self._history, chunks) for row in part]
            except ValueError as error:
                found.differences.append(str(error))
        return rows

    def _complete_from_s(self, grain: str, start: _Start) -> int:
        """From where on the journal has all spend of a period, and the history every period."""
        kept_s = max(0, self._now_s - _KEPT_S[grain])
        complete_s = 0 if start.is_complete else self._oldest_s
        return _next_start_s(grain, max(kept_s, complete_s))

    def _compare_states(self, found: PartitionFindings, whole: PartitionState, start: _Start) -> None:
        restored = start.restored
        if restored is None:
            found.not_compared.append("the state: there is no snapshot, so it is that of the journal")
        elif start.is_complete:
            found.differences += [
                f"the state differs: {difference}"
                for difference in compare_states(whole.budget.encode(), restored.budget.encode())
            ]
            if whole.usage_sequence != restored.usage_sequence:
                found.differences.append(
                    f"usage was read up to {whole.usage_sequence} by the journal, {restored.usage_sequence} by the "
                    "snapshot"
                )
        elif whole.budget != restored.budget:
            found.not_compared.append("the state: the journal does not reach back to its beginning")

    def _compare_history(
        self, found: PartitionFindings, sums: JournalSums, stored: dict[str, list[SpendRow]], start: _Start
    ) -> None:
        for grain, rows in stored.items():
            found.history_rows += len(rows)
            complete_s = self._complete_from_s(grain, start)
            found.differences += compare_rows(sums.history(), rows, grain, complete_s)
        if start.recent is None:
            found.not_compared.append("unwritten spend: no ledger owns the partition at the moment")
        else:
            complete_s = self._complete_from_s("hour", start)
            differences = compare_rows(sums.recent(), start.recent.rows, "hour", complete_s)
            found.differences += [f"unwritten spend: {each}" for each in differences]
        if not start.is_complete:
            found.not_compared.append("earlier spend: the journal of that time is not stored any more")

    async def _compare_usage(
        self, found: PartitionFindings, bookings: Bookings, booked: int, *, is_complete: bool
    ) -> None:
        recorded = []
        aged_out = 0
        async for each in self._books.usage(found.partition):
            if each.usage is None:
                continue
            if each.sequence > booked:
                found.waiting_events += 1
            elif not is_complete and each.at_s < self._oldest_s:
                aged_out += 1
            else:
                recorded.append(recorded_booking(each.usage))
        found.usage_events = len(recorded)
        found.differences += compare_usage(recorded, bookings)
        if aged_out:
            found.not_compared.append(
                f"{aged_out} recorded attempts: the journal of that time is not stored any more"
            )


def _next_start_s(grain: str, at_s: int) -> int:
    """The first beginning of a period at or after a moment."""
    start_s = period_start_s(grain, at_s)
    if start_s == at_s:
        return at_s
    if grain == "month":
        return next_month_s(start_s)
    return start_s + (DAY_S if grain == "day" else HOUR_S)
