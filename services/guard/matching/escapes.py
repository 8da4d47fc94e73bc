r"""Texts with escape sequences, as JSON text and string literals have: searched as their reader will read them.

A value behind `\n` would else look like a part of the word `nvalue`, and `\u0040` would hide an `@`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Final

from penstock.runtime.guard.escapes import Unescaped
from services.guard.detectors.detector import Match
from services.guard.matching.overlaps import Found, without_overlaps

__all__ = ["search_as_read", "search_as_read_or_written"]

_AS_READ, _BEHIND_LETTER = 2, 1
"""Ranks of findings in the text as it is read, and of tokens whose first letter may be one of an escape sequence."""
_ASSIGNED: Final = "generic_secret"
_IN_URL: Final = "url_password"

_Search = Callable[[str], Iterator[Match | None]]


def search_as_read(text: str, search: _Search) -> Iterator[Match | None]:
    """The findings of `search` in a text as it is read, none of which begins or ends inside an escape sequence; None
    for each other step.
    """
    unescaped = _unescaped(text)
    yield from search(text) if unescaped is None else _matches((yield from _as_read(unescaped, search)))


def search_as_read_or_written(text: str, search: _Search) -> Iterator[Match | None]:
    r"""The same, and secrets that have a backslash before or in them: what looks like a sequence may be none.

    These are tokens behind one, as in `C:\npm_…`, and assigned values with some in them. All else that is found only
    in the text as it is written is none: what stands beside it is read otherwise (a line ends at `\n`).
    """
    unescaped = _unescaped(text)
    if unescaped is None:
        yield from search(text)
        return
    found = yield from _as_read(unescaped, search)
    written = Unescaped(text, controls=False)
    if len(written) < len(unescaped):
        for each in (yield from _all(search(written.text))):
            start, end = written.place(each.start), written.place(each.end)
            secret = _with_backslash(Found(start, end, each.kind), unescaped)
            if secret is not None:
                found.append(secret)
    yield from _matches(found)


def _with_backslash(found: Found, unescaped: Unescaped) -> Found | None:
    """A finding of the text as it is written if its backslashes may be its own or stand before it; what is left of it
    cuts no sequence.
    """
    first, last = unescaped.cut_at(found.start), unescaped.cut_at(found.end)
    start, end = found.start if first is None else first[1], found.end if last is None else last[0]
    if unescaped.any_within(start, end):
        is_value = first is None and found.kind == _ASSIGNED
        return Found(start, end, found.kind, _AS_READ) if is_value else None
    is_token = first is not None and start < end and found.kind not in {_ASSIGNED, _IN_URL}
    return Found(start, end, found.kind, _BEHIND_LETTER) if is_token else None


def _unescaped(text: str) -> Unescaped | None:
    """None if the text has no sequences."""
    unescaped = Unescaped(text) if "\\" in text else None
    return unescaped if unescaped is not None and len(unescaped) else None


def _as_read(unescaped: Unescaped, search: _Search) -> Generator[None, None, list[Found]]:
    found = yield from _all(search(unescaped.text))
    return [
        Found(unescaped.place(each.start), unescaped.place(each.end), each.kind, _AS_READ) for each in found
    ]


def _matches(found: list[Found]) -> Iterator[Match]:
    for kept in without_overlaps(found):
        yield Match(kept.start, kept.end, kept.kind)


def _all(steps: Iterator[Match | None]) -> Generator[None, None, list[Match]]:
    found: list[Match] = []
    for each in steps:
        if each is not None:
            found.append(each)
        yield
    return found
