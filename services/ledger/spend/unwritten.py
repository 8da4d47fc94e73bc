"""The spend of a partition that is not yet in the history: part of the owner's state and of its snapshots."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from penstock.contract.ledger.journal import Settled
from penstock.contract.ledger.spend import RecentSpend, SpendQuery, SpendRow
from services.ledger.spend.grouping import grouped
from services.ledger.spend.rows import Pack, SpendRows

__all__ = ["Delta", "UnwrittenSpend", "UnwrittenView"]


class Delta(Struct, frozen=True, array_like=True):
    """The spend between two snapshots. It is fixed from the moment when the second snapshot is stored."""

    number: int
    """The journal sequence of the snapshot that ended it."""
    packs: tuple[Pack, ...]

    def rows(self) -> tuple[SpendRow, ...]:
        """Each key once, in the order of the keys."""
        return SpendRows(self.packs).rows()


class _Encoded(Struct, array_like=True):
    written: int
    deltas: list[Delta]
    rows: tuple[Pack, ...]


class UnwrittenSpend:
    """The owner adds each settlement, cuts before each snapshot, writes the deltas after the snapshot is stored, and
    confirms each when JetStream has stored it.

    A delta may be written only after a snapshot that contains it is stored: before, another owner could cut elsewhere.
    It stays here until it is confirmed, so that full storage loses nothing.
    """

    def __init__(self, written: int = 0) -> None:
        self.written = written
        """The history has the spend of every journal message up to this sequence."""
        self._deltas: list[Delta] = []
        self._rows = SpendRows()

    def add(self, entry: Settled) -> None:
        self._rows.add(entry)

    def cut(self, number: int) -> None:
        """End the current delta at the journal sequence `number`."""
        if self._rows:
            self._deltas.append(Delta(number, self._rows.packs()))
            self._rows = SpendRows()

    def deltas(self, through: int) -> tuple[Delta, ...]:
        """What a stored snapshot of the journal sequence `through` allows to write, the oldest first."""
        return tuple(delta for delta in self._deltas if delta.number <= through)

    def confirm(self, number: int) -> None:
        """The history has every delta up to `number`."""
        self._deltas = [delta for delta in self._deltas if delta.number > number]
        self.written = max(self.written, number)

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(_Encoded(self.written, self._deltas, self._rows.packs()))

    @classmethod
    def decode(cls, data: bytes) -> UnwrittenSpend:
        """Raises ValueError for anything that `encode` did not make."""
        try:
            encoded = msgspec.msgpack.decode(data, type=_Encoded)
        except msgspec.DecodeError as error:
            raise ValueError(f"not the unwritten spend of a partition: {error}") from error
        decoded = cls(encoded.written)
        decoded._deltas = encoded.deltas
        decoded._rows = SpendRows(encoded.rows)
        return decoded

    def recent(self, through: int, query: SpendQuery | None = None) -> RecentSpend:
        """What is not in the history, up to the last applied journal sequence `through`; with `query` only what it
        asks for, already grouped.
        """
        return self.view(through).recent(query)

    def view(self, through: int) -> UnwrittenView:
        """The spend now, which may be read in another thread while settlements are added here."""
        return UnwrittenView(self.written, through, tuple(self._deltas), self._rows.packs())


class UnwrittenView(Struct, frozen=True):
    """The unwritten spend of one moment. Its rows take 10 us each to read."""

    since: int
    through: int
    deltas: tuple[Delta, ...]
    packs: tuple[Pack, ...]
    """The rows since the last snapshot."""

    def recent(self, query: SpendQuery | None = None) -> RecentSpend:
        """As `UnwrittenSpend.recent`."""
        rows = self._summed() if query is None else grouped(self._rows(), query)
        return RecentSpend(since=self.since, through=self.through, rows=rows)

    def _summed(self) -> tuple[SpendRow, ...]:
        """Each key of a delta once."""
        of_deltas = (row for delta in self.deltas for row in delta.rows())
        return (*of_deltas, *SpendRows(self.packs).rows())

    def _rows(self) -> Iterable[SpendRow]:
        for packs in (*(delta.packs for delta in self.deltas), self.packs):
            for pack in packs:
                yield from pack.rows()
