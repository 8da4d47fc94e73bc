r"""Texts with escape sequences, as JSON text and string literals have: searched as their reader will read them.

A value behind `\n` would else look like a part of the word `nvalue`, and `\u0040` would hide an `@`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

from penstock.runtime.guard.escapes import Unescaped
from services.guard.detectors.detector import Match
from services.guard.matching.overlaps import Found, without_overlaps

__all__ = ["search_behind_escapes"]

_READ, _WRITTEN, _CUT = 2, 2, 1
"""Ranks of findings: in the text as it is read, as it is written, and those of the latter that cut a sequence."""


_Steps = Generator[None, None, list[Match]]


def search_behind_escapes(
    text: str, search: Callable[[str], Iterator[Match | None]]
) -> Iterator[Match | None]:
    r"""The findings of `search`, none of which begins or ends inside an escape sequence; None for each other step.

    A text with such sequences is searched twice. What looks like one may be none (`C:\new`), so what is found in the
    text as it is written counts too, unless it begins or ends inside a sequence of another finding.
    """
    unescaped = Unescaped(text) if "\\" in text else None
    if unescaped is None or not len(unescaped):
        yield from search(text)
        return
    found = [
        Found(unescaped.place(each.start), unescaped.place(each.end), each.kind, _READ)
        for each in (yield from _all(search(unescaped.text)))
    ]
    known = {(each.start, each.end) for each in found}
    for each in (yield from _all(search(text))):
        start, end = unescaped.widened(each.start, each.end)
        if (start, end) not in known:
            whole = start == each.start and end == each.end
            found.append(Found(start, end, each.kind, _WRITTEN if whole else _CUT))
    for kept in without_overlaps(found):
        yield Match(kept.start, kept.end, kept.kind)


def _all(steps: Iterator[Match | None]) -> _Steps:
    found: list[Match] = []
    for each in steps:
        if each is not None:
            found.append(each)
        yield
    return found
