"""Searches in long texts, a part at a time: one search of the whole would keep Python's lock until it ends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

__all__ = ["matches"]

_PART: Final = 64 * 1024
_LONGEST: Final = 8 * 1024
"""Characters behind a part in which a match that begins in it may end."""


def matches(
    pattern: re.Pattern[str], text: str, start: int = 0, end: int | None = None
) -> Iterator[re.Match[str]]:
    """As `pattern.finditer`, except that longer matches may be cut off at the end of a part."""
    end = len(text) if end is None else end
    while start < end:
        part_end = min(start + _PART, end)
        for found in pattern.finditer(text, start, min(part_end + _LONGEST, end)):
            if found.start() >= part_end:
                break
            yield found
            start = found.end()
        start = max(start, part_end)
