"""The windows of texts that are rated, and those that are left out where there is more text than can be rated."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

from msgspec import Struct

from services.guard.classifier.encoder import cost_of
from services.guard.injection.model import WIDTH_CHARACTERS

__all__ = ["MOST_COST", "Limits", "Window", "chosen", "windows_of"]

WINDOW_CHARACTERS: Final = 400
"""The characters of a window of a longer text: an attack in one sentence stays a large part of it."""
OVERLAP_CHARACTERS: Final = 150
"""A sentence of this length lies whole in one window at least."""
MOST_COST: Final = 3 * WIDTH_CHARACTERS
"""Of one window, by `cost_of`."""
_END_OF_SENTENCE: Final = re.compile(r"[.!?…»”\"]\s|\n")


class Window(Struct, frozen=True, gc=False):
    """Characters of one of the texts, the end exclusive."""

    text: int
    start: int
    end: int
    cost: int
    """The time that it takes (`cost_of`)."""


class Limits(Struct, frozen=True):
    """The cost of the windows that are rated."""

    of_text: int
    of_check: int
    first_of_text: int
    """Of each text, before further windows of any: an attack in one is not left out for long texts beside it."""


def windows_of(text: int, content: str) -> Iterator[Window]:
    """The whole of a text that the model can read at once; overlapping windows of a longer one. Each of them ends at a
    sentence where one ends in its last part. Lengths are those of compatibility forms (NFKC), which the model reads.
    """
    start = 0
    while _is_longer(content, start, WINDOW_CHARACTERS if start else WIDTH_CHARACTERS):
        end = start + max(1, _fitting(content[start : start + WINDOW_CHARACTERS], WINDOW_CHARACTERS))
        ends = [match.end() for match in _END_OF_SENTENCE.finditer(content, _overlapped(content, end), end)]
        end = ends[-1] if ends else end
        yield Window(text, start, end, cost_of(content[start:end]))
        start = max(_overlapped(content, end), start + 1)
    if start < len(content):
        yield Window(text, start, len(content), cost_of(content[start:]))


def _is_longer(content: str, start: int, length: int) -> bool:
    rest = len(content) - start
    return rest > length or _fitting(content[start:], length) < rest


def _overlapped(content: str, end: int) -> int:
    """Where the window after one with this end begins."""
    return end - _fitting(content[max(0, end - OVERLAP_CHARACTERS) : end][::-1], OVERLAP_CHARACTERS)


def _fitting(characters: str, length: int) -> int:
    """How many of the first characters fit into a length, each counted by itself: together they are not longer."""
    if characters.isascii() or not any(map(_more, set(characters))):
        return min(len(characters), length)
    for number, character in enumerate(characters):
        length -= 1 + _more(character)
        if length < 0:
            return number
    return len(characters)


@lru_cache(maxsize=4096)
def _more(character: str) -> int:
    """How many characters more than one it is in the form in which the model reads it, at most 17."""
    return len(unicodedata.normalize("NFKC", character)) - 1


def chosen(windows: Sequence[Window], suspicion: Sequence[float], limits: Limits) -> list[Window]:
    """The most suspicious windows within the limits, in the order of the texts. A window that is left out leaves no
    room to less suspicious ones of its text.
    """
    order = sorted(range(len(windows)), key=lambda index: suspicion[index], reverse=True)
    texts = len({window.text for window in windows})
    first = min(limits.first_of_text, limits.of_check // max(1, texts))
    used: Counter[int] = Counter()
    total = 0
    found: set[int] = set()
    for most in (first, limits.of_text):
        full: set[int] = set()
        for index in order:
            window = windows[index]
            if index in found or window.text in full:
                continue
            if used[window.text] + window.cost > most or total + window.cost > limits.of_check:
                full.add(window.text)
                continue
            used[window.text] += window.cost
            total += window.cost
            found.add(index)
    return [windows[index] for index in sorted(found)]
