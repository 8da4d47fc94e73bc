"""The forms of text in which a finding of the guard may be: cheap tests that are wider than those of its detectors.

A text that passes none of them is not sent to the guard. A test that passes costs a request to it, so plain words,
dates, prices, decimal numbers, identifiers of code and UUIDs pass none, unless words such as `password` are near.
Everything is linear in the length of the text, apart from factors that the length of a unit bounds.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["MAY_CONTAIN", "QUOTES", "is_candidate"]

QUOTES: Final = ('"', "'", "`")
MAY_CONTAIN: Final = re.compile(
    r"[0-9@]|::|-----BEGIN|[A-Za-z+/_.=-]{18}|eyJ|[A-Z]{16}|[\"'`][^\s\"'`<>]{8}"
    r"|\+[ \u00a0\u2009\u202f]"
)
"""Text without any match has no candidate, unless a quote before it makes its beginning a quoted value."""

_SEPARATORS: Final = r"[ \u00a0\u2009\u202f().\-\u2010-\u2014/]{0,3}"
_UUID: Final = r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![0-9A-Fa-f])"
_DATE: Final = (
    r"(?<![0-9+(])(?:(?:19|20)[0-9]{2}[-./][0-9]{1,2}[-./][0-9]{1,2}|"
    r"[0-9]{1,2}[-./][0-9]{1,2}[-./](?:19|20)[0-9]{2})(?![0-9]|[-./][0-9])(?:[ T]{1,2}[0-9]{1,2}:[0-9.,:]*)?"
)
_DECIMAL: Final = r"(?<![0-9.+(])[0-9]+(?:(?:,[0-9]{3})+(?:\.[0-9]+)?|[.,][0-9]+)(?![0-9]|[-./,][0-9])"
_NUMBER: Final = re.compile(
    rf"{_UUID}|{_DATE}|{_DECIMAL}|(?P<number>\+?\(?[0-9](?:{_SEPARATORS}[0-9]){{6,}}[0-9]*)"
)
_NATIONAL_DIGITS: Final = 9
"""The fewest digits of a number without a leading `+`, `(` or 0: a phone number, a card or an identity number."""
_PASSPORT: Final = re.compile(r"[0-9],?[ \u00a0]?(?:\u2116|No?\.?|номер):?[ \u00a0]?[0-9]{3}")
"""The series of a Russian passport, and a word for the number after it."""
_LONGEST_NUMBER: Final = 40
_TIMESTAMP: Final = re.compile(r"1[4-9](?:[0-9]{8}|[0-9]{11}|[0-9]{14}|[0-9]{17})")
"""Unix time from 2014 to 2033 in s, ms, µs or ns."""
_TAX_WORDS: Final = re.compile(r"(?<![a-z])(?:inn|tin)(?![a-z])|инн|тин|tax|vergi|налогоплат", re.IGNORECASE)
"""Words before the tax number of a company, which has the length of a time in seconds."""

_EMAIL: Final = re.compile(r"[\w%+-]@(?:[\w-]+\.)+[^\W\d]|[\w.%+-]@xn--")
_URL_PASSWORD: Final = re.compile(r"://[^/@]*@|//[^/:@]*:[^/@]+@")
_IPV4: Final = re.compile(r"(?<![0-9.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9])")
_IPV6: Final = re.compile(
    r"(?<![0-9A-Za-z_:.])(?:(?:[0-9A-Fa-f]{1,4}:){1,7}(?::|(?:[0-9A-Fa-f]{1,4}:)*[0-9A-Fa-f]{1,4})"
    r"|::[0-9A-Fa-f]{1,4})"
)
_BLANKS: Final = r"[ \u00a0\u2009\u202f]{0,2}"
_IBAN: Final = re.compile(
    rf"(?<![A-Za-z0-9])(?:[A-Z]{{2}}[0-9]{{2}}(?:{_BLANKS}[A-Z0-9]){{11,30}}"
    rf"|[A-Za-z]{{2}}[0-9]{{2}}(?:[A-Za-z0-9]{{11,30}}|{_BLANKS}[A-Za-z0-9]{{4}}{_BLANKS}[0-9]{{3}}))"
)
"""Between small letters, blanks need digits behind the code of the bank: they may stand between words."""
_KNOWN_TOKEN: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?:sk|pk|rk|gh[a-z]|github_pat|glpat|xox[a-z]|xapp|hf|npm|psk|gsk|key|SG|pypi|dop_v1|shp[a-z]{2}|ya29|whsec)"
    r"[-_.][A-Za-z0-9_.=-]{16}|A[A-Z]{3}[A-Z0-9]{12}|AIza[A-Za-z0-9_-]{20}|eyJ[A-Za-z0-9_-]{10}"
    r"|[0-9]{6,12}:[A-Za-z0-9_-]{20})"
)
_RUN: Final = re.compile(r"[A-Za-z0-9+/=_-]{16,}")
_LETTERS: Final = re.compile(r"[A-Za-z+/_-]{18,}")
_CHANGES: Final = re.compile(r"(?<=[a-z])[0-9A-Z]|(?<=[A-Z])[0-9]|(?<=[0-9])[A-Za-z]")
"""The places at which the class of characters changes: random tokens have many, names have few."""

_FEWEST_CHANGES: Final = 4
_CAPITALS: Final = re.compile(r"(?<=[A-Z])[A-Z]")
_UUID_ALONE: Final = re.compile(_UUID)
_DIGIT: Final = re.compile(r"[0-9]")
_LETTER: Final = re.compile(r"[^\W\d_]")
_CONTEXT_WORDS: Final = re.compile(
    r"pass|pwd|secret|token|key|auth|credential|bearer|login|identified by|парол|ключ|токен|секрет"
    r"|şifre|sifre|parola|anahtar|gizli|jeton|belirte[cç]|\s-u\b|-user\b|mysql|mariadb|redis-cli"
    r"|паспорт|серия|инн|снилс|phone|тел",
    re.IGNORECASE,
)
_ASSIGNED: Final = re.compile(
    r"(?:pass|pwd|secret|token|key|auth|credential|парол|ключ|токен|секрет|şifre|sifre|parola)"
    r"[\w\]\"'`\\ .-]{0,24}(?:[:=]|=>|:=)\s{0,3}[A-Za-z]{0,2}\\?[\"'`]$",
    re.IGNORECASE,
)
"""The text before a quoted value that is assigned to a secret."""
_NO_WORD: Final = re.compile(r"[a-z].*[A-Z]|[^\w\s.,:;/()\[\]{}-]")
_SHORTEST_VALUE: Final = 8


def is_candidate(unit: str, before: str) -> bool:
    """Whether a finding may be in `unit`. `before`: the text before it, 128 characters unless it is shorter."""
    if "@" in unit and (_EMAIL.search(unit) or _URL_PASSWORD.search(unit)):
        return True
    if _DIGIT.search(unit):
        return _may_be_number(unit, before) or _may_be_token(unit, before) or _may_be_address(unit)
    return _may_be_letters(unit, before)


def _may_be_number(unit: str, before: str) -> bool:
    return _PASSPORT.search(unit) is not None or any(
        _has_identity(number, unit, before)
        for found in _NUMBER.finditer(unit)
        if (number := found["number"]) is not None
    )


def _has_identity(number: str, unit: str, before: str) -> bool:
    digits = len(_DIGIT.findall(number))
    if digits < _NATIONAL_DIGITS and number[0] not in "+(0":
        return False
    if digits != len(number):
        return True
    if digits > _LONGEST_NUMBER:
        return False
    if _TIMESTAMP.fullmatch(number) is None or _CONTEXT_WORDS.search(before):
        return True
    return any(map(_TAX_WORDS.search, (unit, before)))


def _may_be_address(unit: str) -> bool:
    if unit.count(".") >= 3 and _IPV4.search(unit):
        return True
    return unit.count(":") >= 2 and _may_be_ipv6(unit)


def _may_be_ipv6(unit: str) -> bool:
    return any("::" in found[0] or found[0].count(":") == 7 for found in _IPV6.finditer(unit))


def _may_be_token(unit: str, before: str) -> bool:
    if len(unit) < _SHORTEST_VALUE:
        return False
    has_letter = _LETTER.search(unit) is not None
    if not has_letter:
        return False
    if _IBAN.search(unit) or _KNOWN_TOKEN.search(unit):
        return True
    near = before + unit
    if _CONTEXT_WORDS.search(near):
        return True
    return any(map(_is_random, _RUN.findall(_UUID_ALONE.sub("", unit))))


def _is_random(run: str) -> bool:
    return len(_CHANGES.findall(run)) >= _FEWEST_CHANGES


def _may_be_letters(unit: str, before: str) -> bool:
    """The forms without digits."""
    if "::" in unit and _may_be_ipv6(unit):
        return True
    if _KNOWN_TOKEN.search(unit):
        return True
    if any(map(_is_random_letters, _LETTERS.findall(unit))):
        return True
    if len(unit) < _SHORTEST_VALUE or not before.endswith(QUOTES):
        return False
    return _NO_WORD.search(unit) is not None and _ASSIGNED.search(before) is not None


def _is_random_letters(run: str) -> bool:
    return _is_random(run) and len(_CAPITALS.findall(run)) >= _FEWEST_CHANGES
