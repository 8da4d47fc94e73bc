"""The windows of texts that are rated, and those that are left out of long texts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from services.guard.injection.model import WIDTH_CHARACTERS

__all__ = ["Window", "chosen", "windows_of"]

WINDOW_CHARACTERS: Final = 400
"""The characters of a window of a longer text: an attack in one sentence stays a large part of it."""
OVERLAP_CHARACTERS: Final = 150
"""A sentence of this length lies whole in one window at least."""
_END_OF_SENTENCE: Final = re.compile(r"[.!?…»”\"]\s|\n")


class Window(Struct, frozen=True, gc=False):
    """Characters of one of the texts, the end exclusive."""

    text: int
    start: int
    end: int

    @property
    def characters(self) -> int:
        return self.end - self.start


def windows_of(text: int, content: str) -> Iterator[Window]:
    """The whole of a text that the model can read at once; overlapping windows of a longer one. Each of them ends at a
    sentence where one ends in its last part.
    """
    start = 0
    while len(content) - start > (WINDOW_CHARACTERS if start else WIDTH_CHARACTERS):
        end = start + WINDOW_CHARACTERS
        ends = [match.end() for match in _END_OF_SENTENCE.finditer(content, end - OVERLAP_CHARACTERS, end)]
        end = ends[-1] if ends else end
        yield Window(text, start, end)
        start = end - OVERLAP_CHARACTERS
    if start < len(content):
        yield Window(text, start, len(content))


def chosen(windows: Sequence[Window], suspicion: Sequence[float], most_characters: int) -> list[Window]:
    """The most suspicious windows with at most `most_characters` together, in the order of the text."""
    order = sorted(range(len(windows)), key=lambda index: suspicion[index], reverse=True)
    found = []
    for index in order:
        most_characters -= windows[index].characters
        if most_characters < 0:
            break
        found.append(index)
    return [windows[index] for index in sorted(found)]
