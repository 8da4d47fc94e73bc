"""Russian numbers: ИНН (tax), СНИЛС (pension insurance) and internal passports."""

from __future__ import annotations

import re
from typing import Final

from services.guard.matching.overlaps import Found
from services.guard.matching.patterns import Pattern, Place
from services.guard.personal_data.checksums import inn_valid, snils_valid
from services.guard.personal_data.context import Words, stands_alone

__all__ = ["RUSSIAN_NUMBERS"]

_BONUS: Final = 12
"""Of the rank of numbers with check digits."""
_INN: Final = Words(
    r"\bинн|\binn\b|_inn|inn_|налогоплательщик|\bтин\b|\btin\b|tax\s?(?:payer)?[\s_-]?(?:id|no|number)|vergi",
    bonus=_BONUS,
)
_SNILS: Final = Words(
    r"снилс|snils|пенсионн\w+ (?:страх|удостов)|лицев\w+ счет\w* застрахован|страхов\w+ номер|\bсс\b"
    r"|\b\d{3}-\d{3}-\d{3}[ \-]\d{2}\b",
    bonus=_BONUS,
)
"""A number in the written form of a СНИЛС, such as the one before in a list, is like the word."""
_PASSPORT: Final = Words(
    r"паспорт|passport|pasaport|удостоверени\w+ личности|загран|\bсерия\b|\bсери[ию]\b|doc(?:ument)?_?(?:no|number)"
)
_SNILS_WRITTEN: Final = 600
"""The rank of a СНИЛС in its own written form, without a word before it."""
_FIRST_SNILS: Final = "001001998"
"""Smaller numbers have no check digits."""
_LAST_YEAR_PAST: Final = 40
_BLANKS: Final = re.compile(r"\D")


def _check_inn(place: Place) -> Found | None:
    rank = _INN.rank(place)
    if not rank or place.value.startswith("00") or not inn_valid(place.value) or not stands_alone(place):
        return None
    return Found(place.start, place.end, "ru_inn", rank)


def _check_snils(place: Place) -> Found | None:
    digits = _BLANKS.sub("", place.value)
    if digits[:9] < _FIRST_SNILS or not snils_valid(digits) or not stands_alone(place):
        return None
    rank = _SNILS.rank(place)
    if not rank and place.value[3] == "-":
        rank = _SNILS_WRITTEN
    return Found(place.start, place.end, "ru_snils", rank) if rank else None


def _check_passport(place: Place) -> Found | None:
    """The series is the code of the region and the year of the form; the number is 000101 to 999999."""
    digits = _BLANKS.sub("", place.value)
    rank = _PASSPORT.rank(place)
    if not rank or not stands_alone(place):
        return None
    year, number = int(digits[2:4]), int(digits[4:])
    if digits[:2] == "00" or _LAST_YEAR_PAST < year < 97 or number <= 100:
        return None
    return Found(place.start, place.end, "ru_passport", rank)


RUSSIAN_NUMBERS: Final = (
    Pattern(r"\b(?:\d{10}|\d{12})\b", _check_inn),
    Pattern(r"\b\d{3}[ \-]\d{3}[ \-]\d{3}[ \-]?\d{2}\b|\b\d{11}\b", _check_snils),
    Pattern(
        r"\b\d{2}[ \x{A0}]?\d{2}(?:,?[ \x{A0}]?(?:№|N|No\.?|номер)[ \x{A0}]?|[ \x{A0}\-]{0,2})\d{3}[ \x{A0}]?\d{3}\b",
        _check_passport,
    ),
)
