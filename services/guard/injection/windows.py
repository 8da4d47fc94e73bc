"""The windows of a text in which instructions are searched."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

__all__ = ["Window", "windows"]

WIDTH: Final = 400
"""Characters of a window: what the classifier was trained on."""
STEP: Final = 300
"""A sentence of up to 100 characters lies whole in one window at least."""
_BREAK: Final = re.compile(r"[\n.!?…»”\"]\s")


class Window(Struct, frozen=True, gc=False):
    start: int
    end: int


def windows(text: str, start: int, most: int) -> list[Window]:
    """Windows from the character `start` on, that end at a sentence where one ends in their last quarter. With
    more than `most`, the first and last windows and evenly spread ones between them are returned.
    """
    found = list(_all(text, start))
    if len(found) <= most:
        return found
    return [found[round(i * (len(found) - 1) / (most - 1))] for i in range(most)]


def _all(text: str, start: int) -> Iterator[Window]:
    while True:
        end = start + WIDTH
        if end >= len(text):
            if start < len(text):
                yield Window(start, len(text))
            return
        ends = [match.end() for match in _BREAK.finditer(text, start + STEP, end)]
        yield Window(start, ends[-1] if ends else end)
        start = ends[-1] - (WIDTH - STEP) if ends else start + STEP
