"""Social security numbers of the United States."""

from __future__ import annotations

import re
from typing import Final

from services.guard.matching.overlaps import Found
from services.guard.matching.patterns import Pattern, Place
from services.guard.personal_data.context import Words, stands_alone
from services.guard.personal_data.digit_groups import BLANK, HYPHEN, digits_of

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
_GOODS: Final = Words(
    r"\b(?:sku|ean|upc|gtin|mpn|asin|isbn|barcode|barkod|lot|batch|plu)s?\b|штрих-?код|артикул\w*|номенклатур\w+"
    r"|(?:part|item|catalog(?:ue)?|product|stock|model|serial)\W{0,3}(?:no|num\w*|code|id|#|№)"
    r"|(?:ürün|stok|parça|seri) (?:kodu|no|numarası)|(?:каталожн|серийн)\w+ номер"
)
"""Headings of the columns of a table of goods."""
_SAME_SERIES: Final = 6
"""Digits that numbers of goods in one list have in common, and those of persons hardly ever."""
_SERIES: Final = re.compile(r"(?<!\d)\d{3}\D\d{2}\D\d{4}(?!\d)")
_NEAR_WORD: Final = 900
"""The least rank of digits without hyphens: the word stands in the line, or in the heading of a table."""


def _check(place: Place) -> Found | None:
    digits = digits_of(place.value)
    if not _assigned(digits) or not stands_alone(place):
        return None
    rank = _SSN.rank(place)
    if not rank and _is_hyphenated(place.value) and not _is_of_goods(place, digits):
        rank = _HYPHENS
    elif rank < _NEAR_WORD and not _is_hyphenated(place.value):
        return None
    return Found(place.start, place.end, "us_ssn", max(rank, _HYPHENS)) if rank else None


def _is_hyphenated(value: str) -> bool:
    return len(value) == 11 and value[3] not in " \xa0\u2009\u202f"


def _is_of_goods(place: Place, digits: str) -> bool:
    """Whether a word before a number without the word for it says so, or another number of the same series."""
    if _OTHER.precede(place) or _GOODS.precede(place):
        return True
    others = map(digits_of, _SERIES.findall(place.text.before(place.start)))
    return any(digits[:_SAME_SERIES] == other[:_SAME_SERIES] and digits != other for other in others)


def _assigned(digits: str) -> bool:
    """The area is none of 000, 666 and 900 to 999, the group not 00, the serial number not 0000 (SSA POMS RM 10201)."""
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    possible = area not in {"000", "666"} and area < "900" and group != "00" and serial != "0000"
    return possible and digits not in _PUBLISHED


AMERICAN_NUMBERS: Final = (
    Pattern(
        rf"\b(?:\d{{3}}{HYPHEN}\d{{2}}{HYPHEN}\d{{4}}|\d{{3}}{BLANK}\d{{2}}{BLANK}\d{{4}}|\d{{9}})\b", _check
    ),
)
