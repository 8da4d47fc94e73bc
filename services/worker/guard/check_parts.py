"""Checks of a bounded size, from any number of texts of any length, and their findings in the whole texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from penstock.contract.guard.checks import (
    MAX_CHECK_BYTES,
    MAX_CHECK_TEXTS,
    TEXT_OVERHEAD_BYTES,
    CheckedText,
    Finding,
)
from penstock.contract.reply import text_bytes

__all__ = ["Part", "parts_of", "placed"]

_OVERLAP_CHARACTERS: Final = 256
"""Characters at the end of a piece with which the next one begins, so that a value at the cut is found whole. They are
checked twice instead of being mere context: a finding of the second check would begin behind them."""
_BREAK_CHARACTERS: Final = 2048
"""Characters before the end of a piece in which a line break or a space is looked for."""
_BYTES_PER_CHARACTER: Final = 4


class Part(Struct, frozen=True):
    """A text of a check, or a piece of one."""

    text: int
    """Index among all texts."""
    offset: int
    """Characters of the text before the piece."""
    checked: CheckedText


def parts_of(texts: Sequence[CheckedText], limit_bytes: int = MAX_CHECK_BYTES) -> Iterator[list[Part]]:
    """The texts in their order, in checks of at most MAX_CHECK_TEXTS and of at most `limit_bytes`, the overhead of each
    text included. Longer texts are cut into overlapping pieces.
    """
    check: list[Part] = []
    left = limit_bytes
    for part in _pieces(texts, limit_bytes - TEXT_OVERHEAD_BYTES):
        size = text_bytes(part.checked.text) + TEXT_OVERHEAD_BYTES
        if size > left or len(check) == MAX_CHECK_TEXTS:
            yield check
            check, left = [], limit_bytes
        check.append(part)
        left -= size
    if check:
        yield check


def placed(part: Part, finding: Finding) -> Finding:
    """The finding in a piece, as one in its whole text."""
    if finding.start == finding.end:
        return replace(finding, text=part.text)
    return replace(finding, text=part.text, start=finding.start + part.offset, end=finding.end + part.offset)


def _pieces(texts: Sequence[CheckedText], limit_bytes: int) -> Iterator[Part]:
    for index, checked in enumerate(texts):
        if text_bytes(checked.text) <= limit_bytes:
            yield Part(index, 0, checked)
            continue
        characters = limit_bytes if checked.text.isascii() else limit_bytes // _BYTES_PER_CHARACTER
        start = 0
        while start < len(checked.text):
            end = _end(checked.text, start, start + characters)
            yield Part(index, start, replace(checked, text=checked.text[start:end]))
            start = end if end == len(checked.text) else end - min(_OVERLAP_CHARACTERS, (end - start) // 2)


def _end(text: str, start: int, end: int) -> int:
    """Where to cut: after the last line break or space before `end`, if there is one near."""
    if end >= len(text):
        return len(text)
    first = max(end - _BREAK_CHARACTERS, start + (end - start) // 2)
    found = text.rfind("\n", first, end)
    if found < 0:
        found = text.rfind(" ", first, end)
    return end if found < 0 else found + 1
