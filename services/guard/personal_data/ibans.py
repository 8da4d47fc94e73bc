"""International bank account numbers: the check digits, then the country's form in schwifty's registry."""

from __future__ import annotations

from typing import Final

from schwifty import IBAN
from schwifty.exceptions import SchwiftyException

from services.guard.matching.overlaps import Found
from services.guard.matching.patterns import Pattern, Place
from services.guard.personal_data.checksums import iban_valid

__all__ = ["IBANS"]

_RANK: Final = 1_500
"""The most specific number: nothing else begins with a country."""
_SHORTEST: Final = 15
_LONGEST: Final = 34
_JOINING: Final = frozenset("/+_=")
"""Characters of base64 and of paths, which join what they stand between."""
_FEWEST_DIFFERENT: Final = 5


def _check(place: Place) -> Found | None:
    """The longest beginning of the candidate that is valid: a word in capitals may follow a number."""
    if place.text.character_before(place.start) in _JOINING:
        return None
    value = place.value
    for end in _ends(place):
        iban = value[:end].replace(" ", "").replace("\xa0", "").upper()
        if _SHORTEST <= len(iban) <= _LONGEST and iban_valid(iban) and _has_form(iban):
            return Found(place.start, place.start + len(value[:end].encode()), "iban", _RANK)
    return None


def _ends(place: Place) -> list[int]:
    value = place.value
    following = place.text.after(place.end, 1)
    ends = [] if following in _JOINING or following.isalnum() else [len(value)]
    return ends + [at for at in range(len(value) - 1, _SHORTEST, -1) if value[at] in " \xa0"]


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
