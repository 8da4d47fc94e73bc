"""Turkish identity numbers (T.C. kimlik numarası)."""

from __future__ import annotations

from typing import Final

from services.guard.matching.overlaps import Found
from services.guard.matching.patterns import Pattern, Place
from services.guard.personal_data.checksums import tckn_valid
from services.guard.personal_data.context import Words, stands_alone
from services.guard.personal_data.digit_groups import GAP, digits_of, evenly_grouped

__all__ = ["TURKISH_NUMBERS"]

_TCKN: Final = Words(
    r"\bt\.?\s?c\.?(?:\b|\s|_)|tckn|tckno|kimlik|tc_?no|national[\s_-]?id|identity (?:no|number)|vatandaş",
    bonus=12,
)
_CHECKED: Final = 100
"""The rank without a word before it: two check digits, so one other number of eleven digits in a hundred is valid."""
_OTHER: Final = Words(
    r"(?:sipariş|order|заказ\w*|invoice|fatura|tracking|takip|kargo|трек|накладн\w+|barkod|barcode|ean|sku|account|hesap|\bid"
    r"|ticket|talep|\buid|артикул|счет\w*|счёт\w*)\W*(?:no|num\w+|number|numarası|id|код|номер|№|#)?\W*\Z",
    40,
)


def _check(place: Place) -> Found | None:
    if not tckn_valid(place.value) or not stands_alone(place):
        return None
    rank = _TCKN.rank(place)
    if not rank and _OTHER.precede(place):
        return None
    return Found(place.start, place.end, "tr_tckn", rank or _CHECKED)


def _check_grouped(place: Place) -> Found | None:
    """Groups of digits need a word: phone numbers have eleven digits as well."""
    if not tckn_valid(digits_of(place.value)) or not evenly_grouped(place.value) or not stands_alone(place):
        return None
    rank = _TCKN.rank(place)
    return Found(place.start, place.end, "tr_tckn", rank) if rank else None


TURKISH_NUMBERS: Final = (
    Pattern(r"\b[1-9]\d{10}\b", _check),
    Pattern(
        rf"\b[1-9]\d(?:{GAP}?\d){{9}}\b",
        _check_grouped,
        hint=rf"\b[1-9]\d{{1,5}}{GAP}\d\d",
    ),
)
