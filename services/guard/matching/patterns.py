"""A set of RE2 patterns that is searched once; only the patterns that occur are searched for their places."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol

import re2

from services.guard.matching.encoded_text import EncodedText
from services.guard.matching.overlaps import Found

__all__ = ["Check", "Pattern", "PatternSet", "Place", "Search", "compiled"]

_MEMORY: Final = 64 << 20
"""Bytes for the states of one automaton. RE2 allocates what it uses, some 100 KB for a set of this project."""
_GROUP_ENDS: Final = frozenset(b" \t\r\n-./()=,;:'\"\xc2\xe2")
"""The last two are the first bytes of no-break and thin blanks, and of hyphens and dashes."""


class Place:
    """One match of a pattern: `start` and `end` of its first group, or of the whole without one."""

    __slots__ = ("_match", "end", "start", "text")

    def __init__(self, text: EncodedText, match: Any, group: int) -> None:
        self.text = text
        self._match = match
        self.start, self.end = match.span(group)

    @property
    def value(self) -> str:
        return self.text[self.start : self.end]

    @property
    def whole(self) -> tuple[int, int]:
        """The place of the whole match."""
        start, end = self._match.span(0)
        return start, end


Check = Callable[[Place], Found | None]
"""The precise check of a candidate: the finding in it, or None."""


class Search(Protocol):
    """A search for one kind of finding."""

    @property
    def hint(self) -> str:
        """A pattern that occurs in each text with such a finding. All hints of a set are searched at once: without
        repetitions of long ranges, which would give the automaton thousands of states.
        """
        ...

    def find(self, text: EncodedText) -> Iterator[Found | None]:
        """The findings; and None for a candidate that is none."""
        ...


class Pattern:
    """A pattern that finds candidates, and their check. A match without finding is searched again from its next group
    of characters on, so that it does not hide a finding that begins in it.
    """

    def __init__(self, source: str, check: Check, *, hint: str = "", ignore_case: bool = False) -> None:
        self.hint = hint or (f"(?i:{source})" if ignore_case else source)
        self._check = check
        self._regexp = compiled(source, ignore_case=ignore_case)
        self._group = min(1, self._regexp.groups)

    def find(self, text: EncodedText) -> Iterator[Found | None]:
        data, position = text.data, 0
        while (match := self._regexp.search(data, position)) is not None:
            found = self._check(Place(text, match, self._group))
            start, end = match.span(0)
            yield found
            position = _next_group(data, start, end) if found is None else max(found.end, start + 1)


def compiled(source: str, *, ignore_case: bool = False) -> Any:
    """An RE2 pattern for bytes of UTF-8."""
    return re2.compile(f"(?i:{source})" if ignore_case else source, _options())


def _next_group(data: bytes, start: int, end: int) -> int:
    for position in range(start + 1, end):
        if data[position] in _GROUP_ENDS:
            return position
    return max(end, start + 1)


def _options() -> re2.Options:
    options = re2.Options()
    options.max_mem = _MEMORY
    options.log_errors = False
    return options


class PatternSet:
    """Searches that are made together: of those whose hint does not occur, none is made."""

    def __init__(self, searches: Sequence[Search]) -> None:
        self._searches = tuple(searches)
        self._set = re2.Set.SearchSet(_options())
        for search in self._searches:
            self._set.Add(search.hint)
        self._set.Compile()

    def find(self, text: EncodedText) -> Iterator[Found | None]:
        """All findings, which may overlap; and None after a candidate or a search without one."""
        for number in self._set.Match(text.data) or ():
            yield from self._searches[number].find(text)
            yield None
