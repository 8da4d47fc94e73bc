"""Social security numbers of the United States."""

from __future__ import annotations

from typing import Final

from services.guard.matching.overlaps import Found
from services.guard.matching.patterns import Pattern, Place
from services.guard.personal_data.context import Words, stands_alone

__all__ = ["AMERICAN_NUMBERS"]

_SSN: Final = Words(
    r"\bssn|_ssn|\bss#|\bss no|social[\s_-]*sec|\bsocial\b|\bw-?2\b|\b1099\b|\bитин\b|\bitin\b|taxpayer|tax id"
    r"|соц\w*\.? страх|социальн\w+ страх|номер соц|sosyal güvenlik|\bsgk\b"
)
_HYPHENS: Final = 500
"""The rank of the written form 123-45-6789 without a word before it."""
_PUBLISHED: Final = frozenset({"078051120", "219099999", "457555462", "123456789", "987654321", "111111111"})
"""Numbers known from advertisements and examples."""
_OTHER: Final = Words(
    r"(?:part|item|order|model|sku|case|ref|серийный|заказ|артикул|parça|sipariş)\W*(?:no|num\w*|id|#|№)?\W*\Z",
    24,
)
_NEAR_WORD: Final = 900
"""The least rank of digits without hyphens: the word stands in the line, or in the heading of a table."""


def _check(place: Place) -> Found | None:
    digits = place.value.replace("-", "").replace(" ", "")
    if not _assigned(digits) or not stands_alone(place):
        return None
    rank = _SSN.rank(place)
    if len(place.value) == 11 and place.value[3] == "-":
        return (
            None
            if not rank and _OTHER.precede(place)
            else Found(place.start, place.end, "us_ssn", max(rank, _HYPHENS))
        )
    return Found(place.start, place.end, "us_ssn", rank) if rank >= _NEAR_WORD else None


def _assigned(digits: str) -> bool:
    """The area is none of 000, 666 and 900 to 999, the group not 00, the serial number not 0000 (SSA POMS RM 10201)."""
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    possible = area not in {"000", "666"} and area < "900" and group != "00" and serial != "0000"
    return possible and digits not in _PUBLISHED


AMERICAN_NUMBERS: Final = (Pattern(r"\b(?:\d{3}-\d{2}-\d{4}|\d{3} \d{2} \d{4}|\d{9})\b", _check),)
