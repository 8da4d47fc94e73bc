"""How spend is stored: chunks of rows, of two kinds.

A *delta* has the spend of one UTC hour between two snapshots of a partition. A *sum* has all spend of one hour, day or
month up to a delta number, so a period is its sum plus the deltas with higher numbers. Both are split into parts that
fit into a message; a chunk counts only when all of its parts are stored, so that a new version replaces an old one at
once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

from msgspec import Struct

from penstock.contract.ledger.spend import SpendRow
from penstock.contract.ledger.spend_address import SpendAddress
from services.ledger.spend.grouping import period_start_s
from services.ledger.spend.rows import encode_rows

__all__ = ["PART_BYTES", "Chunk", "Listing", "Period", "pack"]

PART_BYTES: Final = 512 * 1024
_PART_ROWS: Final = 5_000
"""Decoding a part takes about 10 ms, for which a ledger can do nothing else."""
_DELTA: Final = re.compile(r"([0-9]+)-([0-9]+)-([0-9]+)")
_SUM: Final = re.compile(r"to([0-9]+)-([0-9]+)-([0-9]+)-([0-9]+)")


class Period(Struct, frozen=True, order=True):
    """One UTC hour, day or month of one partition."""

    grain: str
    start_s: int
    partition: str


class Chunk(Struct, frozen=True, order=True):
    """One delta or sum, in all of its parts."""

    period: Period
    kind: Literal["delta", "sum"]
    number: int
    """A journal sequence: where the delta ends, or up to which delta the sum goes."""
    parts: int
    shorter_periods: int = 0
    """Of a sum: how many hours (of a day) or days (of a month) with spend it has."""

    def addresses(self) -> tuple[SpendAddress, ...]:
        return tuple(self._address(part) for part in range(self.parts))

    def _address(self, part: int) -> SpendAddress:
        end = f"{part}-{self.parts}"
        token = (
            f"{self.number}-{end}"
            if self.kind == "delta"
            else f"to{self.number}-{self.shorter_periods}-{end}"
        )
        return SpendAddress(self.period.grain, self.period.start_s, self.period.partition, token)


def pack(rows: Sequence[SpendRow]) -> tuple[bytes, ...]:
    """The parts of a chunk with these rows; the same rows give the same parts."""
    size = _PART_ROWS
    while True:
        parts = tuple(encode_rows(rows[start : start + size]) for start in range(0, max(len(rows), 1), size))
        if size == 1 or max(map(len, parts)) <= PART_BYTES:
            return parts
        size = max(1, size // 2)


class Listing:
    """The chunks that are stored, from the subjects of their parts."""

    def __init__(self, addresses: Iterable[SpendAddress]) -> None:
        self._parts: dict[Chunk, set[int]] = {}
        for address in addresses:
            found = _chunk_of(address)
            if found is not None:
                self._parts.setdefault(found[0], set()).add(found[1])
        self._sums: dict[Period, Chunk] = {}
        self._deltas: dict[Period, dict[int, Chunk]] = {}
        for chunk in sorted(self._parts):
            if len(self._parts[chunk]) < chunk.parts:
                continue
            if chunk.kind == "delta":
                self._deltas.setdefault(chunk.period, {})[chunk.number] = chunk
            else:  # sorted: the last one has the highest number
                self._sums[chunk.period] = chunk
        self._shorter: dict[Period, list[Period]] = {}
        self._months: list[Period] = []
        for period in sorted(
            {longer for each in (*self._sums, *self._deltas) for longer in _with_longer(each)}
        ):
            if period.grain == "month":
                self._months.append(period)
            else:
                self._shorter.setdefault(_longer(period), []).append(period)

    def sum_of(self, period: Period) -> Chunk | None:
        """The newest complete sum."""
        return self._sums.get(period)

    def deltas_of(self, period: Period, after: int, through: int | None) -> list[Chunk]:
        """The complete deltas of an hour with numbers above `after` and up to `through`; None: all higher ones."""
        return [
            chunk
            for number, chunk in self._deltas.get(period, {}).items()
            if after < number and (through is None or number <= through)
        ]

    def shorter(self, period: Period) -> Sequence[Period]:
        """The hours of a day, or the days of a month, of which anything is stored, in order."""
        return self._shorter.get(period, ())

    def hours(self, period: Period) -> Sequence[Period]:
        """The hours of a period of which anything is stored, in order."""
        if period.grain == "hour":
            return (period,)
        return [hour for shorter in self.shorter(period) for hour in self.hours(shorter)]

    def months(self, partition: str) -> Sequence[Period]:
        """The months of which anything is stored, in order."""
        return [month for month in self._months if month.partition == partition]

    def summed_through(self, partition: str) -> int:
        """The highest number of a sum of the partition; 0: there is none."""
        return max(
            (each.number for each in self._sums.values() if each.period.partition == partition), default=0
        )

    def replaced(self, partition: str, through: int) -> Iterator[SpendAddress]:
        """The parts that no reader needs any more: deltas within the sum of their hour, earlier sums, and incomplete
        sums, whose writer has ended.
        """
        for chunk, parts in self._parts.items():
            if chunk.period.partition != partition or chunk.number > through:
                continue
            newest = self.sum_of(chunk.period)
            if chunk.kind == "delta":
                is_replaced = newest is not None and chunk.number <= newest.number
            else:
                is_replaced = chunk != newest
            if is_replaced:
                addresses = chunk.addresses()
                yield from (addresses[part] for part in sorted(parts) if part < chunk.parts)


def _longer(period: Period) -> Period:
    grain = "day" if period.grain == "hour" else "month"
    return Period(grain, period_start_s(grain, period.start_s), period.partition)


def _with_longer(period: Period) -> Iterator[Period]:
    yield period
    if period.grain != "month":
        yield from _with_longer(_longer(period))


def _chunk_of(address: SpendAddress) -> tuple[Chunk, int] | None:
    """The chunk and the number of its part; None for a subject of another version."""
    period = Period(address.grain, address.start, address.partition)
    delta = _DELTA.fullmatch(address.chunk)
    if delta is not None:
        number, part, parts = map(int, delta.groups())
        return Chunk(period, "delta", number, parts), part
    found = _SUM.fullmatch(address.chunk)
    if found is None:
        return None
    number, shorter, part, parts = map(int, found.groups())
    return Chunk(period, "sum", number, parts, shorter), part
