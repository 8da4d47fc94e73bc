"""Phone numbers: international ones, and national ones of five countries where their form or a word tells them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import phonenumbers

from services.guard.matching.overlaps import Found
from services.guard.matching.patterns import Check, Pattern, Place
from services.guard.personal_data.context import Words, in_longer_run, stands_alone

__all__ = ["PHONES"]

_INTERNATIONAL: Final = 700
_WRITTEN: Final = 300
"""Ranks without a word before the number: after `+`, and in a written form of a country."""
_NAMED: Final = 940
"""The least rank of digits without form: a word stands not far before them."""
_WORDS: Final = Words(
    r"тел\b|тел\.|телефон\w*|моб\b|моб\.|мобильн\w+|сотов\w+|позвон\w+|звон\w+|набер\w+|факс"
    r"|whats ?app|ватсап\w*|вотсап\w*|viber|вайбер\w*"
    r"|контакт\w*|смс|sms|phone\w*|\btel\b|tel:|\bcell\b|mobile|\bmob\b|\bcall\b|\bfax\b|contact|dial|reach"
    r"|telefon\w*|\bcep\b|gsm|\bara\w{0,8}|ulaş\w+|msisdn|rufnummer|handy|anrufen"
    r"|номер\w* (?:для связи|клиента|абонента)"
)
_OWN: Final = Words(
    r"(?:(?:\bмо|\bсво|\bтво|ваш|наш|\bего|\bе[её]|\bих|личн|рабоч|домашн|нов|стар|запасн|друг)\w{0,3} номер\w{0,2}"
    r"|\b(?:по|на|с|под) (?:этот |этому |этого |этим )?номер\w{1,2}|\bна этот номер"
    r"|номер\w{0,2} (?:мужа|жены|мамы|папы|сына|дочери|брата|сестры|друга|подруги|коллеги|директора"
    r"|менеджера|водителя|курьера|врача)"
    r"|numara(?:m|n)(?:ız|iz|ıza|a|ı|da|dan)?\b|(?:onun|annemin|babamın|eşimin|kardeşimin|kuryenin|müdürün) numarası"
    r"|\b(?:my|his|her|their|our|your|new|old|home|work|personal|direct) (?:number|digits)"
    r"|\b(?:meine|deine|ihre|seine|unsere) nummer"
    r"|text(?:ed)? (?:me|us|him|her|them)|message (?:me|us)|telegram|телеграм\w*|сбп|напиш\w+|пишите)"
    r"(?:\W+(?:is|это|такой|такая|ise|şu|lautet|ist|at|on|в|на))?\W*\Z",
    56,
)
"""A number that belongs to a person, directly before it; `_OTHER` names what else has numbers."""
_OTHER: Final = Words(
    r"(?:order|invoice|ticket|tracking|case|ref|serial|part|item|model|sku|isbn|issn|article|account|\bid|заказ\w*|накладн\w+|счет\w*"
    r"|счёт\w*|артикул\w*|договор\w*|трек\w*|серийн\w+|sipariş|fatura|takip|kargo|seri|talep|hesap|barkod"
    r"|kart|iban|müşteri|üye\w*|öğrenci|sicil|abone|poliçe|rezervasyon|dosya|kimlik|vergi|bestell\w+|rechnung\w*"
    r"|карт\w+|полис\w*|заявк\w+|обращени\w+|брон\w+|билет\w*|посылк\w+|отправлени\w+|участник\w*|табельн\w+"
    r"|лицев\w+ сч[её]т\w*"
    r"|огрн|кпп|бик|инн|снилс|окпо|vkn|паспорт\w*|серия)\W*(?:no|nr|num\w*|number|numarası|id|номер|код|№|#)?\W*\Z",
    40,
)
_FICTION: Final = re.compile(
    r"1?[2-9]\d\d55501\d\d|4477009\d{5}|44(?:1632960|2079460|1614960|1214960)\d{3}|1?(?:800|888)5550\d{3}"
)
"""Numbers reserved for films and examples: NANPA 555-0100 to -0199, Ofcom's drama numbers."""
_OTHER_FORM: Final = re.compile(r"\d{3}-\d{3}-\d{3}[ \-]?\d{2}|\d{3}-\d{2}-\d{4}|\d{3}-\d{3}-\d{3}")
"""How a СНИЛС, a social security number or a number of a parcel is written."""
_COUNTRY_BEFORE: Final = re.compile(r"\+\d{1,3}[ \-(]{1,2}\Z")
"""The rest of an international number that is not valid is no national one."""
_DIALLED: Final = (
    (re.compile(r"[78]\d{10}"), ("RU",)),
    (re.compile(r"1\d{10}"), ("US",)),
    (re.compile(r"90\d{10}|0[2-5]\d{9}"), ("TR", "DE", "GB")),
    (re.compile(r"0\d{9,11}"), ("DE", "GB")),
    (re.compile(r"(?:44|49)\d{9,11}"), ("GB", "DE")),
    (re.compile(r"[349]\d{9}"), ("RU", "TR", "US")),
    (re.compile(r"[2-8]\d{9}"), ("TR", "US")),
)
_FEWEST_DIFFERENT: Final = 3
_MOST_DIGITS: Final = 15
"""Digits of an international number, ITU-T E.164."""
_LONGEST_NATIONAL: Final = 12
_NO_DIGIT: Final = re.compile(r"\D")


@lru_cache(maxsize=4096)
def _number(value: str, region: str | None) -> str | None:
    """The digits of a valid number with its country; None if it is none."""
    try:
        number = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    digits = f"{number.country_code}{number.national_number}"
    if _FICTION.fullmatch(digits) or len(set(digits)) < _FEWEST_DIFFERENT:
        return None
    return digits


def _check_international(place: Place) -> Found | None:
    """The longest beginning of the candidate that is a valid number: other digits may follow it."""
    before = place.text.before(place.start, 1)
    if before.isalnum() or before in {"+", "."}:
        return None
    if place.value.startswith("00") and in_longer_run(place):
        return None
    value = place.value
    plain = "+" + value.lstrip("0") if value.startswith("00") else value
    shift = len(value) - len(plain)
    for end in _ends(plain):
        part = plain[:end]
        if (
            len(_NO_DIGIT.sub("", part)) <= _MOST_DIGITS
            and _number(part, None)
            and _ends_well(place, end + shift)
        ):
            return Found(
                place.start,
                place.start + len(value[: end + shift].encode()),
                "phone",
                _rank(place, _INTERNATIONAL),
            )
    return None


def _ends(value: str) -> list[int]:
    """The ends of groups of digits with at least seven digits before them, the longest first; at most eight."""
    ends = [match.end() for match in re.finditer(r"\d+", value) if match.end() > 7]
    return ends[:-9:-1]


def _ends_well(place: Place, end: int) -> bool:
    following = place.value[end:] + place.text.after(place.end, 2)
    return not following[:1].isdigit() and not (following[:1].isalpha() and following[:1].isascii())


def _rank(place: Place, least: int) -> int:
    return max(_WORDS.rank(place), least)


def _national(*regions: str) -> Check:
    """The check of a written form of these countries."""

    def check(place: Place) -> Found | None:
        value = place.value
        if _OTHER_FORM.fullmatch(value) or len(_NO_DIGIT.sub("", value)) > _LONGEST_NATIONAL:
            return None
        if not any(_number(value, region) for region in regions):
            return None
        if _COUNTRY_BEFORE.search(place.text.before(place.start, 6)) or in_longer_run(place):
            return None
        named = _WORDS.rank(place)
        if not stands_alone(place) or (named < _NAMED and _OTHER.precede(place)):
            return None
        return Found(place.start, place.end, "phone", max(named, _WRITTEN))

    return check


def _check_named(place: Place) -> Found | None:
    """Digits, in groups or not, after a word for a phone."""
    rank = max(_WORDS.rank(place), _OWN.rank(place))
    if rank < _NAMED or _OTHER.precede(place) or not stands_alone(place):
        return None
    value = place.value
    if _OTHER_FORM.fullmatch(value) or _COUNTRY_BEFORE.search(place.text.before(place.start, 6)):
        return None
    if any(_number(value, region) for region in _countries(_NO_DIGIT.sub("", value))):
        return Found(place.start, place.end, "phone", rank)
    return None


def _countries(digits: str) -> tuple[str, ...]:
    """The countries in which a number is dialled like this."""
    for form, countries in _DIALLED:
        if form.fullmatch(digits):
            return countries
    return ()


_GAP: Final = r"[ \x{A0}\-‑]?"
PHONES: Final = (
    Pattern(
        r"(?:\+|\b00)[ ]?\(?[1-9](?:[ \x{A0}().\-‑–/]{0,3}\d){6,18}",
        _check_international,
        hint=r"\+ ?\(?[1-9]|\b00[1-9]",
    ),
    # 8 (916) 123-45-67, 8 916 123 45 67, (495) 123-45-67, 916 123-45-67
    Pattern(
        rf"(?:\b[78]{_GAP})?\(\d{{3,5}}\){_GAP}\d{{1,3}}{_GAP}\d{{2}}{_GAP}\d{{2}}\b"
        r"|\b8[ \x{A0}\-‑]\d{3}[ \x{A0}\-‑]\d{3}[ \x{A0}\-‑]\d{2}[ \x{A0}\-‑]?\d{2}\b"
        r"|\b\d{3}[ \x{A0}]\d{3}-\d{2}-\d{2}\b",
        _national("RU"),
    ),
    # 0 (532) 123 45 67, 0532 123 45 67, 0212 123 45 67
    Pattern(r"\b0 ?\(?[2-5]\d{2}\)?[ \-]?\d{3}[ \-]\d{2}[ \-]?\d{2}\b", _national("TR")),
    # (212) 867-5309, 212-867-5309, 212.867.5309, 1-212-867-5309
    Pattern(
        r"(?:\b1[ .\-])?\([2-9]\d{2}\) ?\d{3}[ .\-]\d{4}\b|\b(?:1[.\-])?[2-9]\d{2}[.\-]\d{3}[.\-]\d{4}\b",
        _national("US"),
    ),
    # 0171 2345678, 030 / 12 34 56, 040-23 45 67; 07911 123456, 020 7946 0018
    Pattern(
        r"\(?\b0[1-9]\d{1,4}\)?(?: ?[/\-] ?| )\d{2,4}(?:[ \-]?\d{2,4}){1,3}\b|\b0[1-9]\d{1,4}[ /]\d{5,8}\b",
        _national("DE", "GB"),
    ),
    Pattern(r"\b[0-9](?:[ \x{A0}\-]?\d){8,11}\b", _check_named),
)
