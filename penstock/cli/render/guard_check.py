"""The text of a verdict of the guard, and of its accuracy on a labelled set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from penstock.cli.guard.accuracy import Accuracy, Counts, Mistake
from penstock.cli.render.counting import counted
from penstock.cli.render.table import cell, table
from penstock.cli.render.terminal_safe import visible
from penstock.contract.guard.checks import Finding, GuardVerdict

__all__ = ["accuracy_text", "place_of", "verdict_text"]

_SHOWN: Final = 10
"""Misses, and false alarms, that are listed."""
_WHOLE: Final = "whole text"


def place_of(text: str, finding: Finding) -> tuple[int, int] | None:
    """Line and column of a finding, from 1 on; None: it is in the whole text."""
    if not finding.end:
        return None
    return text.count("\n", 0, finding.start) + 1, finding.start - text.rfind("\n", 0, finding.start)


def verdict_text(text: str, verdict: GuardVerdict, *, apply_policy: bool = True) -> str:
    """A row for each finding, then what could not be checked, and the verdict. Actions are shown with a policy only."""
    rows = [_row(text, finding, finding.action if apply_policy else "-") for finding in verdict.findings]
    titles = ("finding", "at", "text", "detector", "score", "action")
    lines = [table(titles, rows, right=frozenset({4})), ""] if rows else []
    for failure in verdict.failures:
        closed = ": the policy refuses what it has not checked" if failure.refuses else ""
        lines.append(f"not checked by {failure.detector} ({visible(failure.why)}){closed}")
    return "\n".join([*lines, _summary(verdict, apply_policy=apply_policy)])


def accuracy_text(accuracy: Accuracy) -> str:
    rows = [_accuracy_row(name, counts) for name, counts in accuracy.by_name.items()]
    if len(rows) != 1:
        rows.append(_accuracy_row("all", accuracy.total))
    titles = (counted(accuracy.texts, "text"), "tp", "fp", "fn", "precision", "recall")
    lines = [table(titles, rows, right=frozenset({1, 2, 3, 4, 5}))]
    lines += _mistakes("missed", accuracy.missed)
    lines += _mistakes("false alarms", accuracy.false_alarms)
    return "\n".join(lines)


def _row(text: str, finding: Finding, action: str) -> tuple[str, ...]:
    place = place_of(text, finding)
    return (
        cell(finding.name),
        _WHOLE if place is None else f"{place[0]}:{place[1]}",
        cell(text[finding.start : finding.end]) or "-",
        finding.detector,
        f"{finding.score:.2f}",
        action,
    )


def _summary(verdict: GuardVerdict, *, apply_policy: bool) -> str:
    action: str = "refuse" if verdict.refuses and verdict.action != "block" else verdict.action
    if verdict.findings and not apply_policy:
        action = "no policy applied (--account applies one)"
    parts = [
        f"{counted(len(verdict.findings), 'finding') if verdict.findings else 'nothing found'}: {action}",
        f"policy version {verdict.policy_version}" if verdict.policy_version else "",
        f"language {verdict.language}" if verdict.language else "",
        f"{verdict.elapsed_ms:.1f} ms by {verdict.guard or 'a guard'}",
    ]
    return visible(", ".join(part for part in parts if part))


def _accuracy_row(name: str, counts: Counts) -> tuple[str, ...]:
    shares = (_share(counts.precision), _share(counts.recall))
    return (cell(name), *(f"{number:,}" for number in (counts.tp, counts.fp, counts.fn)), *shares)


def _share(share: float | None) -> str:
    """Rounded down, so that only a share without any mistake is 100%."""
    return "-" if share is None else f"{int(share * 1000) / 10:.1f}%"


def _mistakes(title: str, mistakes: Sequence[Mistake]) -> Iterator[str]:
    if not mistakes:
        return
    yield f"\n{title} ({len(mistakes):,}):"
    for mistake in mistakes[:_SHOWN]:
        text = f"  {cell(mistake.text)}" if mistake.text else ""
        score = "" if mistake.score is None else f"  (score {mistake.score:.2f})"
        yield f"  line {mistake.line}  {mistake.name}{text}{score}"
    if len(mistakes) > _SHOWN:
        yield f"  and {len(mistakes) - _SHOWN:,} more (all with --json)"
