"""Whether the books agree: the journal against the snapshot, the spend history and the recorded usage.

Pure: the caller reads the streams and hands over what it read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import asdict, replace

from penstock.contract.events import UsageRecorded
from penstock.contract.ledger.journal import Held, JournalBatch, JournalEntry, Released, Settled
from penstock.contract.ledger.spend import SpendAmounts, SpendKey, SpendRow
from services.ledger.budget.holds import amount, token_count
from services.ledger.spend.grouping import Grain, period_start_s, summed
from services.ledger.spend.rows import AmountsByKey, add_row, settled_row

__all__ = [
    "Booking",
    "Bookings",
    "JournalSums",
    "compare_rows",
    "compare_states",
    "compare_usage",
    "recorded_booking",
]

_STATE_FIELDS: Final = ("version", "system", "last_ms", "accounts", "holds", "ended")


class Booking(Struct, frozen=True):
    """One attempt as it was booked, or as its usage says it should be."""

    hold_id: str
    attempt: int
    model: str
    input_tokens: int
    output_tokens: int
    picousd: int


class Bookings:
    """Every attempt that the journal of a partition booked."""

    def __init__(self) -> None:
        self.by_attempt: dict[tuple[str, int], list[Booking]] = {}
        """More than one where the id of a request was used again after it had ended."""
        self.repeated: list[Booking] = []
        self._attempts: dict[str, set[int]] = {}
        """Attempts of the request that has the id now."""
        self._ended: set[str] = set()

    def add(self, entry: JournalEntry) -> None:
        match entry:
            case Held() if not entry.raises and entry.id in self._ended:
                self._ended.discard(entry.id)
                self._attempts.pop(entry.id, None)
            case Released():
                self._ended.add(entry.id)
            case Settled():
                self._book(entry)

    def _book(self, entry: Settled) -> None:
        booking = Booking(
            entry.id, entry.attempt, entry.model, entry.input_tokens, entry.output_tokens, entry.picousd
        )
        if entry.ends:
            self._ended.add(entry.id)
        attempts = self._attempts.setdefault(entry.id, set())
        if entry.attempt in attempts:
            self.repeated.append(booking)
        else:
            attempts.add(entry.attempt)
            self.by_attempt.setdefault((entry.id, entry.attempt), []).append(booking)


class JournalSums:
    """The spend that the journal of a partition says, in the parts that can be compared: up to the end of the written
    history, and after it up to what the owner has applied.
    """

    def __init__(self, written: int, applied: int) -> None:
        self._written = written
        self._applied = applied
        self._history: AmountsByKey = {}
        self._recent: AmountsByKey = {}

    def add(self, batch: JournalBatch, sequence: int) -> None:
        if sequence > self._applied:
            return
        sums = self._history if sequence <= self._written else self._recent
        for entry in batch.entries:
            if isinstance(entry, Settled):
                row = settled_row(entry)
                add_row(sums, row.key, row.amounts)

    def history(self) -> list[SpendRow]:
        return [SpendRow(key, amounts) for key, amounts in self._history.items()]

    def recent(self) -> list[SpendRow]:
        return [SpendRow(key, amounts) for key, amounts in self._recent.items()]


def compare_rows(
    expected: Iterable[SpendRow], found: Iterable[SpendRow], grain: Grain, complete_from_s: int
) -> list[str]:
    """What differs between two sets of rows, in periods that begin at `complete_from_s` or later."""
    sums = [_by_period(rows, grain, complete_from_s) for rows in (expected, found)]
    differences = []
    for key in sorted({*sums[0], *sums[1]}, key=lambda key: tuple(asdict(key).values())):
        journal, stored = (each.get(key, SpendAmounts()) for each in sums)
        if journal != stored:
            differences.append(f"{_name(key, grain)}: {_difference(journal, stored)}")
    return differences


def _by_period(rows: Iterable[SpendRow], grain: Grain, complete_from_s: int) -> AmountsByKey:
    kept = summed(rows, lambda key: replace(key, start_s=period_start_s(grain, key.start_s)))
    return {row.key: row.amounts for row in kept if row.key.start_s >= complete_from_s}


def _name(key: SpendKey, grain: Grain) -> str:
    whose = "/".join((key.account, key.user or "-", key.key or "-", key.role, key.model))
    return f"{grain} {key.start_s} of {whose}"


def _difference(journal: SpendAmounts, stored: SpendAmounts) -> str:
    pairs = zip(asdict(journal).items(), asdict(stored).values(), strict=True)
    return ", ".join(
        f"{name} {in_journal} in the journal, {in_history} in the history"
        for (name, in_journal), in_history in pairs
        if in_journal != in_history
    )


def recorded_booking(usage: UsageRecorded) -> Booking:
    """The booking that a usage event asks for."""
    return Booking(
        usage.hold_id or f"{usage.account}.{usage.client}.{usage.id}",
        usage.attempt,
        usage.model,
        token_count(usage.input_tokens),
        token_count(usage.output_tokens),
        amount(usage.cost_picousd),
    )


def compare_usage(recorded: Iterable[Booking], bookings: Bookings) -> list[str]:
    """Every recorded attempt must be booked exactly once, with what it used."""
    differences = [
        f"attempt {each.attempt} of {each.hold_id} is booked more than once" for each in bookings.repeated
    ]
    by_attempt: dict[tuple[str, int], list[Booking]] = {}
    for usage in recorded:
        by_attempt.setdefault((usage.hold_id, usage.attempt), []).append(usage)
    for (hold_id, attempt), usages in by_attempt.items():
        booked = bookings.by_attempt.get((hold_id, attempt), [])
        if not booked:
            differences.append(f"attempt {attempt} of {hold_id} is recorded and not booked")
        differences += [
            f"attempt {attempt} of {hold_id} is booked with {_used(each)}, recorded with {_used(usages[0])}"
            for each in booked
            if each not in usages  # it may be recorded more than once, to be booked once
        ]
    return differences


def _used(booking: Booking) -> str:
    return (
        f"{booking.input_tokens} tokens in, {booking.output_tokens} out, {booking.picousd} picodollars at "
        f"{booking.model}"
    )


def compare_states(from_journal: bytes, from_snapshot: bytes) -> list[str]:
    """Where two encoded budget states differ, by account, hold and field."""
    states = [msgspec.msgpack.decode(each) for each in (from_journal, from_snapshot)]
    named = [dict(zip(_STATE_FIELDS, each, strict=False)) for each in states]
    return list(_paths("", named[0], named[1]))


def _paths(path: str, one: object, other: object) -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            yield from _paths(f"{path} {key}".strip(), one.get(key), other.get(key))
    elif isinstance(one, list) and isinstance(other, list) and any(isinstance(each, dict) for each in one):
        for number, (left, right) in enumerate(zip(one, other, strict=False)):
            yield from _paths(f"{path} [{number}]", left, right)
    elif one != other:
        yield f"{path}: {one} by the journal, {other} by the snapshot"
