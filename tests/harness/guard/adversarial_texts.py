"""Texts that make a careless search slow: long runs of what patterns begin with."""

from __future__ import annotations

import base64
import random
from typing import Final

__all__ = ["ADVERSARIAL", "adversarial_text"]

_BEGIN: Final = "-----BEGIN PRIVATE" + " KEY-----"
_UNITS: Final = {
    "digits": "1234567890",
    "at signs": "@",
    "letters and at signs": "a@a.",
    "begun blocks": "-----BEGIN",
    "begun private keys": _BEGIN,
    "begun private keys in lines": f"{_BEGIN}\n",
    "names of secrets": "password=",
    "assigned values": "password=a1b2 ",
    "digits and dashes": "1-",
    "groups of digits": "4111 ",
    "pluses": "+",
    "numbers with plus": "+12345678901 ",
    "nested quotes": '{"a":\'\\"token\\":\\"',
    "begun tokens": "eyJaaaaaaaaaaaa.",
    "begun URLs": "http://a:",
    "begun IBANs": "DE89 3704 ",
    "begun IBANs in small letters": "de89-abcd-370",
    "groups with special blanks": "ИНН 77\u00a007\u202f08 ",
    "numbers beside slashes": "ИНН 7707083893/",
    "passports of things": "паспорт изделия 4508 123456 ",
    "begun connection strings": "Endpoint=sb://a;Key=",
    "phones of persons": "мой номер 8926",
    "numbers of one series": "536-90-4377 ",
    "mapped addresses": "::ffff:1.2.3.",
    "parts of addresses": "1.2.3.",
    "mixed letters and digits": "Aa1",
    "backslashes": "\\",
    "line breaks as escapes": "\\n",
    "escaped letters": "\\u0061@",
    "half surrogates": "\\ud83d\\\\",
    "Cyrillic words": "ключ: а1 ",
}
ADVERSARIAL: Final = (*_UNITS, "base64")


def adversarial_text(name: str, characters: int) -> str:
    if name == "base64":
        return base64.b64encode(random.Random(1).randbytes(characters)).decode()[:characters]
    unit = _UNITS[name]
    return (unit * (characters // len(unit) + 1))[:characters]
