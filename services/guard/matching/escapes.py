r"""Texts with escape sequences, as JSON text and string literals have: searched as their reader will read them.

A value behind `\n` would else look like a part of the word `nvalue`, and `\u0040` would hide an `@`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from penstock.runtime.guard.escapes import Unescaped
from services.guard.detectors.detector import Match
from services.guard.matching.overlaps import Found, without_overlaps

__all__ = ["find_behind_escapes"]

_READ, _WRITTEN, _CUT = 2, 2, 1
"""Ranks of findings: in the text as it is read, as it is written, and those of the latter that cut a sequence."""


def find_behind_escapes(text: str, find: Callable[[str], Sequence[Match]]) -> Sequence[Match]:
    r"""The findings of `find`, none of which begins or ends inside an escape sequence.

    A text with such sequences is searched twice. What looks like one may be none (`C:\new`), so what is found in the
    text as it is written counts too, unless it begins or ends inside a sequence of another finding.
    """
    if "\\" not in text:
        return find(text)
    unescaped = Unescaped(text)
    if not len(unescaped):
        return find(text)
    found = [
        Found(unescaped.place(each.start), unescaped.place(each.end), each.kind, _READ)
        for each in find(unescaped.text)
    ]
    known = {(each.start, each.end) for each in found}
    for each in find(text):
        start, end = unescaped.widened(each.start, each.end)
        if (start, end) not in known:
            whole = start == each.start and end == each.end
            found.append(Found(start, end, each.kind, _WRITTEN if whole else _CUT))
    return [Match(each.start, each.end, each.kind) for each in without_overlaps(found)]
