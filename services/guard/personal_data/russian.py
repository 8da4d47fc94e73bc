"""Russian numbers: ИНН (tax), СНИЛС (pension insurance) and internal passports."""

from __future__ import annotations

from typing import Final

from services.guard.matching.overlaps import Found
from services.guard.matching.patterns import Pattern, Place
from services.guard.personal_data.checksums import inn_valid, snils_valid
from services.guard.personal_data.context import Words, stands_alone
from services.guard.personal_data.digit_groups import (
    BLANK,
    GAP,
    HYPHEN,
    digits_of,
    evenly_grouped,
    group_end,
)

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
_PASSPORT_WORD: Final = Words(r"паспорт|passport|pasaport|загран")
_PASSPORT_OF_THING: Final = Words(
    r"паспорт\w*[ \x{A0}]+(?:на )?(?:издели|продук|товар|оборудовани|прибор|устройств|агрегат|объект|качеств"
    r"|безопасност|проект|сделк|лифт|трубопровод|кот[её]?л|насос|станк|здани|сооружени|транспорт|тс\b|птс|машин|самоход|автомоб|двигател"
    r"|счетчик|счётчик|скважин|отход|парти|сосуд|кабел|крана?\b|модул|узл)\w*"
    r"|(?:техн|энерг|эколог|вет|санитарн|кадастров|заводск|гигиен|радиац)[а-я\-.]*[ \x{A0}]+паспорт"
    r"|техпаспорт|энергопаспорт"
    r"|(?:product|device|equipment|vehicle|battery|ürün|cihaz|araç) (?:passport|pasaport)"
)
"""A passport in Russian is also the certificate of a thing."""
_NEAR_WORD: Final = 960
"""The least rank of an ИНН in groups of digits."""
_HYPHENS: Final = frozenset("-\u2010\u2011\u2012\u2013")
_SNILS_WRITTEN: Final = 600
"""The rank of a СНИЛС in its own written form, without a word before it."""
_FIRST_SNILS: Final = "001001998"
"""Smaller numbers have no check digits."""
_LAST_YEAR_PAST: Final = 40


def _check_inn(place: Place) -> Found | None:
    rank = _INN.rank(place)
    if not rank or place.value.startswith("00") or not inn_valid(place.value) or not stands_alone(place):
        return None
    return Found(place.start, place.end, "ru_inn", rank)


def _check_grouped_inn(place: Place) -> Found | None:
    """Twelve or ten digits in groups, after a word that is near; other groups may follow them."""
    written = place.value
    for digits in (12, 10):
        value = written[: group_end(written, digits)]
        if value and evenly_grouped(value) and inn_valid(digits_of(value)) and stands_alone(place):
            rank = _INN.rank(place)
            end = place.start + len(value.encode())
            return Found(place.start, end, "ru_inn", rank) if rank >= _NEAR_WORD else None
    return None


def _check_snils(place: Place) -> Found | None:
    digits = digits_of(place.value)
    if digits[:9] < _FIRST_SNILS or not snils_valid(digits) or not stands_alone(place):
        return None
    rank = _SNILS.rank(place)
    if not rank and place.value[3] in _HYPHENS:
        rank = _SNILS_WRITTEN
    return Found(place.start, place.end, "ru_snils", rank) if rank else None


def _check_passport(place: Place) -> Found | None:
    """The series is the code of the region and the year of the form; the number is 000101 to 999999."""
    digits = digits_of(place.value)
    rank = _PASSPORT.rank(place)
    if not rank or not stands_alone(place):
        return None
    year, number = int(digits[2:4]), int(digits[4:])
    if digits[:2] == "00" or _LAST_YEAR_PAST < year < 97 or number <= 100:
        return None
    of_thing = _PASSPORT_OF_THING.rank(place)
    if of_thing and of_thing >= _PASSPORT_WORD.rank(place):
        return None
    return Found(place.start, place.end, "ru_passport", rank)


RUSSIAN_NUMBERS: Final = (
    Pattern(r"\b(?:\d{10}|\d{12})\b", _check_inn),
    Pattern(
        rf"\b\d{{2}}(?:{GAP}?\d){{8,10}}\b",
        _check_grouped_inn,
        hint=rf"\b\d{{2,6}}{GAP}\d\d",
    ),
    Pattern(rf"\b\d{{3}}{GAP}\d{{3}}{GAP}\d{{3}}(?:{GAP})?\d{{2}}\b|\b\d{{11}}\b", _check_snils),
    Pattern(
        rf"\b\d{{2}}(?:{BLANK}|{HYPHEN})?\d{{2}}"
        rf"(?:,?{BLANK}?(?:№|N|No\.?|номер):?{BLANK}?|(?:{BLANK}|{HYPHEN}){{0,3}}|/)\d{{3}}{BLANK}?\d{{3}}\b",
        _check_passport,
    ),
)
