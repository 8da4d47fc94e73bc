"""The text of the ledger's partitions and of a verification."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from penstock.cli.render.table import cell, table
from penstock.cli.render.terminal_safe import visible
from services.ledger.verification.positions import PartitionPosition
from services.ledger.verification.report import PartitionFindings, Verification

__all__ = ["ledger_text", "verification_text"]

_MOST_DIFFERENCES: Final = 50
"""Of one partition; `--json` has all."""


def ledger_text(positions: Sequence[PartitionPosition], owners: Mapping[str, str], now_ms: int) -> str:
    rows = [
        (
            each.partition,
            cell(owners.get(each.partition, "none")),
            f"{each.journal_sequence:,}",
            f"{each.snapshot_sequence:,}" if each.snapshot_ms is not None else "none",
            "-" if each.snapshot_ms is None else f"{max(0, now_ms - each.snapshot_ms) // 1000:,} s",
            f"{each.waiting_usage:,}",
        )
        for each in positions
    ]
    titles = ("partition", "owner", "journal", "snapshot at", "snapshot age", "usage not booked")
    return table(titles, rows, right=frozenset({2, 3, 4, 5}))


def verification_text(found: Verification) -> str:
    rows = [
        (
            each.partition,
            f"{each.batches:,}",
            f"{each.bookings:,}",
            f"{each.usage_events:,}",
            f"{each.waiting_events:,}",
            f"{each.history_rows:,}",
            "agrees" if not each.differences else f"{len(each.differences):,} differences",
        )
        for each in found.partitions
    ]
    titles = ("partition", "journal", "bookings", "usage", "not booked yet", "history rows", "result")
    lines = [table(titles, rows, right=frozenset(range(1, 6)))]
    if found.deleted_journal_messages:
        lines.append(
            f"{found.deleted_journal_messages:,} messages of the journal were deleted between others"
        )
    for each in found.partitions:
        lines += _details(each)
    lines.append("the books agree" if found.agrees else "the books differ")
    return "\n".join(lines)


def _details(found: PartitionFindings) -> Iterator[str]:
    for difference in found.differences[:_MOST_DIFFERENCES]:
        yield f"partition {found.partition}: {visible(difference)}"
    more = len(found.differences) - _MOST_DIFFERENCES
    if more > 0:
        yield f"partition {found.partition}: {more:,} more differences"
    for what in found.not_compared:
        yield f"partition {found.partition}: not compared: {visible(what)}"
