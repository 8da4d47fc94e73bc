"""What `penstock ledger verify` found."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["PartitionFindings", "Verification"]


class PartitionFindings(Struct, kw_only=True):
    """One partition."""

    partition: str
    batches: int = 0
    """Journal messages that were read."""
    entries: int = 0
    bookings: int = 0
    usage_events: int = 0
    """Recorded attempts that were compared with the bookings."""
    waiting_events: int = 0
    """Recorded attempts that the ledger has not booked yet."""
    history_rows: int = 0
    """Rows of the spend history that were compared."""
    deleted_messages: int = 0
    """Journal messages that are known to be missing: of neighbours that were deleted together only one is."""
    differences: list[str] = []
    not_compared: list[str] = []
    """What could not be compared, and why."""


class Verification(Struct, kw_only=True):
    """All partitions."""

    partitions: list[PartitionFindings]
    deleted_journal_messages: int = 0
    """The sum of all partitions."""

    @property
    def agrees(self) -> bool:
        return not any(each.differences for each in self.partitions)
