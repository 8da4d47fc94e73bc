"""International bank account numbers: the check digits, then the country's form in schwifty's registry."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import accumulate, pairwise
from typing import Final

from schwifty import IBAN
from schwifty.exceptions import SchwiftyException
from schwifty.registry import get_iban_spec

from services.guard.matching.overlaps import Found
from services.guard.matching.patterns import Pattern, Place
from services.guard.personal_data.checksums import iban_valid
from services.guard.personal_data.digit_groups import GAP

__all__ = ["IBANS"]

_RANK: Final = 1_500
"""The most specific number: nothing else begins with a country."""
_GAPS: Final = frozenset(" \xa0\u2009\u202f-\u2010\u2011\u2012\u2013")
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
    iban = "".join(character for character in value[:end] if character not in _GAPS).upper()
    if not iban_valid(iban) or not _has_form(iban) or not _are_groups(value[:end].split()):
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
    """How many characters that are no gap between groups stand up to each place."""
    return accumulate(character not in _GAPS for character in value)


def _are_groups(groups: list[str]) -> bool:
    """Groups of four, or others that begin and end with digits: so the worker's filter of answers keeps them whole."""
    in_fours = True
    for group, following in pairwise(groups):
        in_fours = in_fours and len(group) % 4 == 0
        if not in_fours and not (group[-1].isdigit() and following[0].isdigit()):
            return False
    return True


def _has_form(iban: str) -> bool:
    if len(set(iban[4:])) < _FEWEST_DIFFERENT:
        return False  # zeros of a form to fill in
    try:
        IBAN(iban)
    except SchwiftyException:
        return False
    return True


IBANS: Final = (
    # The country's length ends a number in capitals. One in small letters has digits behind the code of the bank.
    Pattern(
        rf"\b[A-Z]{{2}}\d{{2}}(?:{GAP}?[A-Z0-9]){{11,30}}",
        _check,
        hint=r"\b[A-Z]{2}\d{2}[ A-Z0-9\-\x{A0}\x{2009}-\x{2013}\x{202F}]",
    ),
    Pattern(r"\b[a-z]{2}\d{2}[a-z0-9]{4}\d{7,26}\b", _check, hint=r"\b[a-z]{2}\d{2}[a-z0-9]{4}\d{7}"),
    Pattern(
        rf"\b[A-Za-z]{{2}}\d{{2}}{GAP}?[A-Za-z0-9]{{4}}{GAP}?\d{{3}}(?:{GAP}?[A-Za-z0-9]){{4,23}}",
        _check,
        hint=rf"\b[A-Za-z]{{2}}\d{{2}}{GAP}?[A-Za-z0-9]{{4}}{GAP}?\d{{3}}",
    ),
)
