"""Targets of figures, the table that shows them, and medians of rounds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from msgspec import Struct

__all__ = ["Target", "medians", "target_table", "text_table"]


class Target(Struct, frozen=True):
    """A figure and its limit, on a machine with two cores at 2.5 GHz or more.

    `ratio`: the figure divided by another one of the same run; the limit is then for the ratio, which depends less on
    the machine. `at_least`: the limit is a lower bound. `added`: the figure is the difference to a call without what is
    measured; below zero, other programs disturbed that call, and the difference says nothing.
    """

    figure: str
    measured: float
    limit: float
    ratio: float | None = None
    at_least: bool = False
    added: bool = False

    @property
    def met(self) -> bool:
        if self.added and self.measured < 0.0:
            return False
        judged = self.measured if self.ratio is None else self.ratio
        return judged >= self.limit if self.at_least else judged <= self.limit

    @property
    def verdict(self) -> str:
        if self.added and self.measured < 0.0:
            return "not measurable: the call that it is compared with was disturbed"
        return "met" if self.met else "MISSED"


def target_table(targets: Sequence[Target]) -> str:
    rows = [
        (
            target.figure,
            f"{target.measured:.4g}",
            "" if target.ratio is None else f"{target.ratio:.2f}",
            f"{'at least' if target.at_least else 'at most'} {target.limit:g}",
            target.verdict,
        )
        for target in targets
    ]
    return text_table(("figure", "measured", "ratio", "target", ""), rows)


def text_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns of equal width; the first is aligned to the left, the others to the right."""
    lines = [tuple(head), *map(tuple, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    rule = tuple("-" * width for width in widths)
    return "\n".join(_line(line, widths) for line in (lines[0], rule, *lines[1:]))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.rjust(width) if column else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join((first, *others)).rstrip()


def medians(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The median of each figure of rounds with the same keys; objects within objects likewise."""
    found: dict[str, Any] = {}
    for name, first in rounds[0].items():
        values = [each[name] for each in rounds]
        found[name] = medians(values) if isinstance(first, dict) else round(median(values), 3)
    return found
