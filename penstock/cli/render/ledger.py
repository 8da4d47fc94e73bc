"""The text of the ledger's partitions and of a verification."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from penstock.cli.render.counting import counted
from penstock.cli.render.table import cell, table
from penstock.cli.render.terminal_safe import visible
from services.ledger.verification.positions import PartitionPosition
from services.ledger.verification.report import PartitionFindings, Verification

__all__ = ["ledger_text", "verification_text"]

_MOST_DIFFERENCES: Final = 50
"""Of one partition; `--json` has all."""


def ledger_text(
    positions: Sequence[PartitionPosition],
    owners: Mapping[str, str],
    silent: Mapping[str, float],
    now_ms: int,
) -> str:
    """`owners`: partition -> live ledger; `silent`: ledgers that count as dead -> seconds since their heartbeat."""
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
    titles = ("partition", "owner", "journal sequence", "snapshot at", "snapshot age", "usage not booked")
    lines = [table(titles, rows, right=frozenset({2, 3, 4, 5}))]
    lines += [
        f"{visible(instance)} is silent for {silent_s:.0f} s and owns nothing"
        for instance, silent_s in silent.items()
    ]
    missing = [each.partition for each in positions if each.partition not in owners]
    if missing:
        lines.append(f"no live ledger owns {_partitions(missing, len(positions))}")
    return "\n".join(lines)


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
    titles = (
        "partition",
        "journal messages",
        "bookings",
        "usage",
        "not booked yet",
        "history rows",
        "result",
    )
    lines = [table(titles, rows, right=frozenset(range(1, 6)))]
    for each in found.partitions:
        lines += _details(each)
    lines += _not_compared(found.partitions)
    lines.append(_result(found))
    return "\n".join(lines)


def _details(found: PartitionFindings) -> Iterator[str]:
    for difference in found.differences[:_MOST_DIFFERENCES]:
        yield f"partition {found.partition}: {visible(difference)}"
    more = len(found.differences) - _MOST_DIFFERENCES
    if more > 0:
        yield f"partition {found.partition}: {more:,} more differences"


def _not_compared(partitions: Sequence[PartitionFindings]) -> Iterator[str]:
    """One line for each reason, with the partitions for which it holds."""
    where: dict[str, list[str]] = {}
    for each in partitions:
        for reason in each.not_compared:
            where.setdefault(reason, []).append(each.partition)
    for reason, names in where.items():
        yield f"not compared in {_partitions(names, len(partitions))}: {visible(reason)}"


def _partitions(names: Sequence[str], of: int) -> str:
    if len(names) == of > 1:
        return "any partition"
    return f"partition{'' if len(names) == 1 else 's'} {', '.join(names)}"


def _result(found: Verification) -> str:
    """What was compared, and with which result."""
    messages, bookings, usage, rows, waiting = (
        sum(getattr(each, name) for each in found.partitions)
        for name in ("batches", "bookings", "usage_events", "history_rows", "waiting_events")
    )
    compared = (
        f"{counted(messages, 'journal message')} with {counted(bookings, 'booking')}, "
        f"{counted(usage, 'recorded provider attempt')} and {counted(rows, 'row')} of the spend history"
    )
    later = f"; not booked yet: {counted(waiting, 'recorded attempt')}" if waiting else ""
    return f"{'no difference' if found.agrees else 'differences'} between {compared}{later}"
