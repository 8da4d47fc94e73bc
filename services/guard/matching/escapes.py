r"""Texts with escape sequences, as JSON text and string literals have: searched as their reader will read them.

A value behind `\n` would else look like a part of the word `nvalue`, and `\u0040` would hide an `@`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

from penstock.runtime.guard.escapes import Unescaped
from services.guard.detectors.detector import Match
from services.guard.matching.overlaps import Found, without_overlaps

__all__ = ["search_behind_escapes"]

_READ, _WRITTEN = 2, 1
"""Ranks of findings in the text as it is read, and as it is written."""


_Steps = Generator[None, None, list[Match]]


def search_behind_escapes(
    text: str, search: Callable[[str], Iterator[Match | None]]
) -> Iterator[Match | None]:
    r"""The findings of `search`, none of which begins or ends inside an escape sequence; None for each other step.

    A text with such sequences is searched twice. What looks like one may be none (`C:\new`), so what is found in the
    text as it is written counts too, where nothing was found in the text as it is read.
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
            # One with sequences in it, none of which it cuts, may be a value that really has backslashes.
            whole = (start, end) == (each.start, each.end) and "\\" in text[start:end]
            found.append(Found(start, end, each.kind, _READ if whole else _WRITTEN))
    for kept in without_overlaps(found):
        yield Match(kept.start, kept.end, kept.kind)


def _all(steps: Iterator[Match | None]) -> _Steps:
    found: list[Match] = []
    for each in steps:
        if each is not None:
            found.append(each)
        yield
    return found
