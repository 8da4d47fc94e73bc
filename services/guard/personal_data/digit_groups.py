"""Numbers that are written in groups of digits."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["BLANK", "GAP", "HYPHEN", "digits_of", "evenly_grouped", "group_end"]

BLANK: Final = r"[ \x{A0}\x{2009}\x{202F}]"
HYPHEN: Final = r"[\-\x{2010}-\x{2013}]"
GAP: Final = rf"(?:{BLANK}{{1,2}}|{BLANK}?{HYPHEN}{BLANK}?)"
"""Between two groups. The worker's filter of answers keeps numbers with such gaps, of up to three characters, whole."""
_NO_DIGIT: Final = re.compile(r"\D")
_ONE_DIGIT: Final = re.compile(r"(?<!\d)\d(?!\d)")
_BLANK: Final = re.compile(r"\s+")
_HYPHEN: Final = re.compile(r"[-\u2010-\u2013]")


def digits_of(written: str) -> str:
    return _NO_DIGIT.sub("", written)


def group_end(written: str, digits: int) -> int:
    """Where the group ends with which so many digits are complete; 0 if no group does."""
    count = 0
    for at, character in enumerate(written, 1):
        count += character.isdigit()
        if count == digits:
            return 0 if written[at : at + 1].isdigit() else at
    return 0


def evenly_grouped(written: str) -> bool:
    """Whether all gaps are of one sort and no digit is alone: not a date with a time, nor an amount by thousands."""
    gaps = {_sort(gap) for gap in re.findall(r"\D+", written)}
    return len(gaps) <= 1 and _ONE_DIGIT.search(written) is None


def _sort(gap: str) -> str:
    return _HYPHEN.sub("-", _BLANK.sub("", gap))
