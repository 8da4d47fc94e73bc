"""The state of one partition: its budgets, its unwritten spend, and how far its journal and the usage were read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from penstock.contract.ledger.journal import Alerted, JournalBatch, JournalEntry, Settled
from penstock.contract.subjects import SYSTEM_PARTITION
from services.ledger.budget.state import BudgetState
from services.ledger.spend.unwritten import UnwrittenSpend

__all__ = ["PartitionState", "SnapshotContent"]

_LENGTH_BYTES: Final = 4
_decode_alerts: Final = msgspec.msgpack.Decoder(list[Alerted]).decode
"""Its errors are ValueErrors."""


class SnapshotContent(Struct, frozen=True):
    """A snapshot as it is stored."""

    journal_sequence: int
    usage_sequence: int
    data: bytes
    journal_base: int = 0
    """As in `LedgerSnapshot`."""


class PartitionState:
    """Computed from a snapshot and the journal after it; nothing else changes it."""

    def __init__(self, partition: str) -> None:
        self.partition = partition
        self.budget = BudgetState(system=partition == SYSTEM_PARTITION)
        self.spend = UnwrittenSpend()
        self.journal_sequence = 0
        """The last message of the journal that is included, or was skipped."""
        self.batch_sequence = 0
        """The last batch that is included."""
        self.journal_base = 0
        """As in `LedgerSnapshot`."""
        self.usage_sequence = 0
        """The last usage event that is included."""
        self.changes = 0
        """Entries since the last snapshot."""
        self.alerts: list[Alerted] = []
        """Alerts that may not be published yet."""

    @classmethod
    def restored(cls, partition: str, snapshot: SnapshotContent) -> PartitionState:
        """Raises ValueError for data that `snapshot` did not make."""
        budget, rest = _first_part(snapshot.data)
        alerts, spend = _first_part(rest)
        state = cls(partition)
        state.budget = BudgetState.decode(budget)
        state.alerts = _decode_alerts(alerts)
        state.spend = UnwrittenSpend.decode(spend)
        state.journal_sequence = state.batch_sequence = snapshot.journal_sequence
        state.usage_sequence = snapshot.usage_sequence
        state.journal_base = snapshot.journal_base
        return state

    def skip(self, sequence: int) -> None:
        """A message of the journal is no batch."""
        self.journal_sequence = sequence

    def replay(self, batch: JournalBatch, sequence: int) -> None:
        """Apply a batch of the journal."""
        for entry in batch.entries:
            self.budget.apply(entry)
        self.include(batch.entries, batch.usage_sequence, sequence)

    def next_batch(self, entries: Sequence[JournalEntry], usage_sequence: int = 0) -> JournalBatch:
        """The batch to append after everything that is included."""
        return JournalBatch(
            entries=tuple(entries),
            usage_sequence=usage_sequence or self.usage_sequence,
            previous=self.batch_sequence,
        )

    def include(self, entries: Sequence[JournalEntry], usage_sequence: int, sequence: int) -> None:
        """A batch whose entries were applied to the budgets is stored under this journal sequence."""
        counts_spend = self.partition != SYSTEM_PARTITION  # the partitions of the accounts have all of it
        for entry in entries:
            if isinstance(entry, Settled):
                if counts_spend:
                    self.spend.add(entry)
            elif isinstance(entry, Alerted):
                self.alerts.append(entry)
        self.changes += len(entries)
        # It goes down when the stream of usage was made anew.
        self.usage_sequence = usage_sequence or self.usage_sequence
        self.journal_sequence = self.batch_sequence = sequence

    def snapshot(self) -> SnapshotContent:
        """The state now; spend from now on belongs to the next snapshot."""
        self.spend.cut(self.journal_sequence)
        alerts = msgspec.msgpack.encode(self.alerts)
        data = b"".join((_part(self.budget.encode()), _part(alerts), self.spend.encode()))
        self.changes = 0
        return SnapshotContent(self.journal_sequence, self.usage_sequence, data, self.journal_base)


def _part(data: bytes) -> bytes:
    return len(data).to_bytes(_LENGTH_BYTES, "big") + data


def _first_part(data: bytes) -> tuple[bytes, bytes]:
    """The first part, and what follows it."""
    end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "big")
    return data[_LENGTH_BYTES:end], data[end:]
