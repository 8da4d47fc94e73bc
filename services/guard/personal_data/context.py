"""What stands around a number: the words before it, and whether it is a part of something longer."""

from __future__ import annotations

import re
from typing import Final

from services.guard.matching.encoded_text import MOST_BEFORE_CHARACTERS
from services.guard.matching.patterns import Place, compiled

__all__ = ["Words", "in_longer_run", "stands_alone"]

_NEAR: Final = 1_000
"""The rank of a finding that is named by the word directly before it; each character between them takes one."""
_JOINING: Final = frozenset("_/\\@%~^")
"""Characters that make a number beside them a part of an identifier, a path or an address."""
_NUMBER_BEFORE: Final = re.compile(r"(?:\A|[^\w/.\-%])\+?\(?\d[\d \xa0()\-]{5,24}/\Z")
_NUMBER_AFTER: Final = re.compile(r"/[\d+(\s]")
"""A slash between two numbers is no path: ИНН and КПП of a company, two phones, a card and its expiry date."""
_INSIDE_BEFORE: Final = re.compile(r"\d[.:]|[0-9A-Za-z]-")
_GROUP_BEFORE: Final = re.compile(r"\d[ \-]\Z|\b[A-Z]{2}\d{2}(?: [0-9A-Z]{4})* \Z")
_GROUP_AFTER: Final = re.compile(r"[ \-]\d")
_INSIDE_AFTER: Final = re.compile(r"[.:\-][0-9A-Za-z]")


class Words:
    r"""Words that name a kind of number, or that exclude it, searched in the text before a number.

    `words` is a pattern of RE2 in which `\b`, `\w` and `\W` know the letters of all alphabets.
    """

    def __init__(self, words: str, characters: int = MOST_BEFORE_CHARACTERS, *, bonus: int = 0) -> None:
        """`bonus`: of numbers with check digits, which go before others that are named as near."""
        self._last = compiled(f"(?s:.*)(?:{_of_all_alphabets(words)})", ignore_case=True)
        self._characters = characters
        self._bonus = bonus

    def rank(self, place: Place) -> int:
        """0 if no such word stands before the place; the more, the nearer it is."""
        before = place.text.before_as_bytes(place.start, self._characters)
        last = self._last.match(before)
        if last is None:
            return 0
        return self._bonus + _NEAR - len(before[last.end() :].decode())

    def precede(self, place: Place) -> bool:
        before = place.text.before_as_bytes(place.start, self._characters)
        return self._last.match(before) is not None


def _of_all_alphabets(words: str) -> str:
    begun = re.sub(r"(^|[|(:])\\b", r"\1(?:^|[^\\pL\\pN_])", words)
    ended = begun.replace(r"\b", r"(?:$|[^\pL\pN_])")
    return ended.replace(r"\w", r"[\pL\pN_]").replace(r"\W", r"[^\pL\pN_]").replace(r"\Z", r"\z")


def stands_alone(place: Place) -> bool:
    """Whether a number is no part of an identifier, a path, a decimal, a date or a longer number."""
    before, after = place.text.before(place.start, 2), place.text.after(place.end, 2)
    if _joins(before[-1:]) and not (
        before[-1] == "/" and _NUMBER_BEFORE.search(place.text.before(place.start, 40))
    ):
        return False
    if _joins(after[:1]) and not _NUMBER_AFTER.match(after):
        return False
    return not (_INSIDE_BEFORE.fullmatch(before) or _INSIDE_AFTER.fullmatch(after))


def in_longer_run(place: Place) -> bool:
    """Whether further groups of digits stand beside a number, or the beginning of an IBAN before it."""
    before = place.text.before(place.start, 40)
    return (
        _GROUP_BEFORE.search(before) is not None
        or _GROUP_AFTER.match(place.text.after(place.end, 2)) is not None
    )


def _joins(neighbour: str) -> bool:
    return neighbour in _JOINING or (neighbour.isascii() and neighbour.isalnum())
