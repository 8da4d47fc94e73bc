"""International bank account numbers: the check digits, then the country's form in schwifty's registry."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import accumulate
from typing import Final

from schwifty import IBAN
from schwifty.exceptions import SchwiftyException
from schwifty.registry import get_iban_spec

from services.guard.matching.overlaps import Found
from services.guard.matching.patterns import Pattern, Place
from services.guard.personal_data.checksums import iban_valid

__all__ = ["IBANS"]

_RANK: Final = 1_500
"""The most specific number: nothing else begins with a country."""
_BLANKS: Final = frozenset(" \xa0")
_JOINING: Final = frozenset("/+_=")
"""Characters of base64 and of paths, which join what they stand between."""
_FIELD: Final = re.compile(r"[^0-9A-Za-z]?/")
"""A slash that begins a field, as in SWIFT's `:59:/DE…`."""
_FEWEST_DIFFERENT: Final = 5


def _check(place: Place) -> Found | None:
    """As many characters as the country has: a word in capitals may follow a number."""
    before = place.text.before(place.start, 2)
    if before[-1:] in _JOINING and not _FIELD.fullmatch(before):
        return None
    value = place.value
    length = _length(value[:2].upper())
    end = next((at for at, count in enumerate(_counts(value), 1) if count == length), 0)
    following = value[end : end + 1] or place.text.after(place.end, 1)
    if not end or following in _JOINING or following.isalnum():
        return None
    iban = value[:end].replace(" ", "").replace("\xa0", "").upper()
    if not iban_valid(iban) or not _has_form(iban):
        return None
    return Found(place.start, place.start + len(value[:end].encode()), "iban", _RANK)


@cache
def _length(country: str) -> int:
    """Characters of an IBAN of the country; 0 if it has none."""
    try:
        return get_iban_spec(country).iban_length
    except SchwiftyException:
        return 0


def _counts(value: str) -> Iterator[int]:
    """How many characters that are no blanks stand up to each place."""
    return accumulate(character not in _BLANKS for character in value)


def _has_form(iban: str) -> bool:
    if len(set(iban[4:])) < _FEWEST_DIFFERENT:
        return False  # zeros of a form to fill in
    try:
        IBAN(iban)
    except SchwiftyException:
        return False
    return True


IBANS: Final = (
    Pattern(
        r"\b[A-Z]{2}\d{2}(?:[ \x{A0}]?[A-Z0-9]{4}){2,7}(?:[ \x{A0}]?[A-Z0-9]{1,3})?\b",
        _check,
        hint=r"\b[A-Z]{2}\d{2}[ A-Z0-9\x{A0}]",
    ),
    Pattern(r"\b[a-z]{2}\d{2}[a-z0-9]{4}\d{7,26}\b", _check, hint=r"\b[a-z]{2}\d{2}[a-z0-9]{4}\d{7}"),
)
