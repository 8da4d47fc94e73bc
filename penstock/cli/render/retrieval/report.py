"""What `penstock index` did, or would do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from penstock.cli.render.costs import cost_text
from penstock.cli.render.counting import counted
from penstock.cli.render.table import table
from penstock.cli.render.terminal_safe import visible
from penstock.cli.retrieval.files import FileProblem, FoundFiles
from penstock.cli.retrieval.totals import IndexTotals
from penstock.contract.retrieval.documents import RefusedDocument
from penstock.runtime.text.sizes import size_text

__all__ = ["changes_line", "dry_run_text", "problem_lines", "stopped_text", "totals_text"]

_SHOWN: Final = 50
"""Refused documents that are listed; --json has all."""
_SHOWN_LEFT_OUT: Final = 3
"""Files that are no documents, and named; --json has all."""
_TITLES: Final = (
    *("documents", "added or replaced", "deleted"),
    *("chunks", "chunks embedded", "chunks from cache", "tokens", "cost"),
)


def totals_text(totals: IndexTotals) -> str:
    """A table of one row, and what was left out."""
    report = totals.report
    row = (
        f"{report.indexed + report.unchanged:,}",
        f"{report.indexed:,}",
        f"{report.deleted:,}",
        f"{report.chunks:,}",
        f"{report.embedded:,}",
        f"{report.from_cache:,}",
        f"{report.tokens:,}",
        cost_text(report.cost_microusd, report.unpriced_attempts),
    )
    lines = [table(_TITLES, [row], right=frozenset(range(len(row))))]
    repeated = report.changed - report.embedded - report.from_cache
    if repeated > 0 and not report.refused:
        lines.append(f"Chunks with the text, and the vector, of another one: {repeated:,}.")
    if report.model:
        vectors = f", {report.dimensions:,} dimensions" if report.dimensions else ""
        lines.append(f"Collection {report.collection}, vectors of {visible(report.model)}{vectors}.")
    if totals.left_out:
        lines.append(_left_out_line(totals.left_out))
    return "\n".join(lines)


def problem_lines(problems: Sequence[FileProblem], refused: Sequence[RefusedDocument] = ()) -> list[str]:
    """A line for each document that is not indexed: its file could not be sent, or the indexer refused it."""
    reasons = [(each.id, each.reason) for each in problems]
    reasons += [(each.id, each.reason) for each in refused]
    lines = [f"  {visible(name)}: {visible(reason)}" for name, reason in reasons[:_SHOWN]]
    if not lines:
        return []
    more = [f"  and {len(reasons) - _SHOWN:,} more (--json lists them)"] if len(reasons) > _SHOWN else []
    return [f"Not indexed: {counted(len(reasons), 'document')}", *lines, *more]


def stopped_text(totals: IndexTotals, *, can_go_on: bool) -> str:
    """Where a command was stopped by Ctrl-C or an error; `can_go_on`: the same command may succeed."""
    done = totals.report.indexed + totals.report.unchanged
    where = f"after {counted(done, 'document')}" if done else "before a document was indexed"
    parts = [
        *(["what is indexed stays"] if done else []),
        *(["the same command goes on"] if can_go_on else []),
    ]
    return f"Stopped {where}: {', and '.join(parts)}." if parts else f"Stopped {where}."


def changes_line(totals: IndexTotals, now: str) -> str:
    """One line for the changes that --watch has sent."""
    report = totals.report
    parts = [f"{counted(report.indexed, 'document')} changed"]
    if report.deleted:
        parts.append(f"{report.deleted:,} deleted")
    parts.append(f"{counted(report.embedded, 'chunk')} embedded")
    if report.from_cache:
        parts.append(f"{report.from_cache:,} from cache")
    if report.cost_microusd or report.unpriced_attempts:
        parts.append(cost_text(report.cost_microusd, report.unpriced_attempts))
    if totals.left_out:
        parts.append(f"{counted(len(totals.left_out), 'file')} left out, not documents")
    return f"{now}  {', '.join(parts)}"


def dry_run_text(found: FoundFiles, missing: Sequence[str]) -> str:
    """What would be sent, and what would be deleted."""
    return "\n".join(_dry_run_lines(found, missing))


def _dry_run_lines(found: FoundFiles, missing: Sequence[str]) -> Iterator[str]:
    files = found.files
    yield from (f"{size_text(file.size):>10}  {visible(file.id)}" for file in files)
    yield from (f"{'delete':>10}  {visible(key)}" for key in missing)
    total = size_text(sum(file.size for file in files))
    deleted = f", {len(missing):,} would be deleted" if missing else ""
    yield f"{counted(len(files), 'file')}, {total}, would be sent{deleted}. Unchanged ones cost nothing."
    if found.left_out:
        yield _left_out_line(found.left_out)


def _left_out_line(ids: Sequence[str]) -> str:
    names = ", ".join(visible(each) for each in ids[:_SHOWN_LEFT_OUT])
    more = f" and {len(ids) - _SHOWN_LEFT_OUT:,} more" if len(ids) > _SHOWN_LEFT_OUT else ""
    return f"Left out, not documents: {counted(len(ids), 'file')} ({names}{more})."
