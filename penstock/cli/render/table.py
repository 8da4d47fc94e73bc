"""Text tables for the terminal, with columns as wide as their widest cell on the screen."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from penstock.cli.render.terminal_safe import visible

__all__ = ["cell", "screen_width", "shortened", "table"]

_GAP = "  "
_CELL_COLUMNS = 40


def screen_width(text: str) -> int:
    """The terminal columns that `text` takes: two for wide letters, none for combining marks."""
    return sum(_width(letter) for letter in text)


def shortened(text: str, columns: int) -> str:
    """`text` on one line, cut to `columns` of the screen, with `…` at the cut."""
    line = " ".join(text.split())
    if screen_width(line) <= columns:
        return line
    kept = ""
    for letter in line:
        if screen_width(kept + letter) > columns - 1:
            break
        kept += letter
    return f"{kept.rstrip()}…"


def cell(text: str) -> str:
    """Text of any origin as a terminal-safe cell of at most 40 columns."""
    return shortened(visible(text), _CELL_COLUMNS)


def table(
    titles: Sequence[str], rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()
) -> str:
    """A table with a rule below its titles; the columns numbered in `right` (from 0) are right-aligned."""
    widths = [max(screen_width(text) for text in column) for column in zip(titles, *rows, strict=True)]
    lines = [titles, ["─" * width for width in widths], *rows]
    return "\n".join(
        _GAP.join(
            _padded(text, width, right=number in right)
            for number, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _padded(text: str, width: int, *, right: bool) -> str:
    blanks = " " * (width - screen_width(text))
    return blanks + text if right else text + blanks


def _width(letter: str) -> int:
    if unicodedata.combining(letter) or unicodedata.category(letter) in {"Cc", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
