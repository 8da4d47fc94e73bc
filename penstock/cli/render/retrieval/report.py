"""What `penstock index` did, or would do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from penstock.cli.render.answer import money
from penstock.cli.render.counting import counted
from penstock.cli.render.table import table
from penstock.cli.render.terminal_safe import visible
from penstock.cli.retrieval.files import FoundFile, FoundFiles
from penstock.cli.retrieval.totals import IndexTotals

__all__ = ["changes_line", "dry_run_text", "problem_lines", "size_text", "totals_text"]

_SHOWN: Final = 50
"""Refused documents that are listed; --json has all."""
_TITLES: Final = ("documents", "changed", "deleted", "chunks", "embedded", "from cache", "tokens", "cost")


def totals_text(totals: IndexTotals) -> str:
    """A table of one row, and what was left out."""
    row = (
        f"{totals.indexed + totals.unchanged:,}",
        f"{totals.indexed:,}",
        f"{totals.deleted:,}",
        f"{totals.chunks:,}",
        f"{totals.embedded:,}",
        f"{totals.from_cache:,}",
        f"{totals.tokens:,}",
        money(totals.cost_microusd),
    )
    lines = [table(_TITLES, [row], right=frozenset(range(len(row))))]
    if totals.model:
        vectors = f", {totals.dimensions:,} dimensions" if totals.dimensions else ""
        lines.append(f"Collection {totals.collection}, vectors of {visible(totals.model)}{vectors}.")
    if totals.binary:
        lines.append(f"Left out, not documents: {counted(totals.binary, 'file')}.")
    return "\n".join(lines)


def problem_lines(totals: IndexTotals) -> list[str]:
    """A line for each document that is not indexed."""
    reasons = [*((str(each.path), each.reason) for each in totals.problems)]
    reasons += [(each.id, each.reason) for each in totals.refused]
    lines = [f"  {visible(name)}: {visible(reason)}" for name, reason in reasons[:_SHOWN]]
    if not lines:
        return []
    more = [f"  and {len(reasons) - _SHOWN:,} more (--json lists them)"] if len(reasons) > _SHOWN else []
    return [f"Not indexed: {counted(len(reasons), 'document')}", *lines, *more]


def changes_line(totals: IndexTotals, now: str) -> str:
    """One line for the changes that --watch has sent."""
    parts = [f"{counted(totals.indexed, 'document')} changed"]
    if totals.deleted:
        parts.append(f"{totals.deleted:,} deleted")
    parts.append(f"{counted(totals.embedded, 'chunk')} embedded")
    if totals.from_cache:
        parts.append(f"{totals.from_cache:,} from cache")
    if totals.cost_microusd:
        parts.append(money(totals.cost_microusd))
    return f"{now}  {', '.join(parts)}"


def dry_run_text(found: FoundFiles, missing: Sequence[str]) -> str:
    """What would be sent, and what would be deleted."""
    return "\n".join(_dry_run_lines(found.files, missing))


def _dry_run_lines(files: Sequence[FoundFile], missing: Sequence[str]) -> Iterator[str]:
    yield from (f"{size_text(file.size):>10}  {visible(file.id)}" for file in files)
    yield from (f"{'delete':>10}  {visible(key)}" for key in missing)
    total = size_text(sum(file.size for file in files))
    deleted = f", {len(missing):,} would be deleted" if missing else ""
    yield f"{counted(len(files), 'file')}, {total}, would be sent{deleted}. Unchanged ones cost nothing."


def size_text(size: int) -> str:
    """`512 B`, `3.4 KiB`, `12.0 MiB`."""
    if size < 1024:
        return f"{size} B"
    number = float(size)
    for unit in ("KiB", "MiB", "GiB"):
        number /= 1024
        if number < 1024:
            return f"{number:,.1f} {unit}"
    return f"{number / 1024:,.1f} TiB"
