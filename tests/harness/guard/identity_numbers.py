"""Numbers of cards, accounts and persons with valid check digits, that are not in use."""

from __future__ import annotations

import random
import string
from typing import Final

from tests.harness.guard.value_parts import Maker, digits, grouped, template, with_other_end


def _luhn_ok(number: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _with_luhn(body: str) -> str:
    return next(body + digit for digit in string.digits if _luhn_ok(body + digit))


def _grouped_card(rng: random.Random, number: str) -> str:
    separator = rng.choice([" ", " ", "-", "", ""])
    return grouped(number, [4, 6, 5] if len(number) == 15 else [4, 4, 4, 4], separator)


def _payment_card(rng: random.Random) -> str:
    brand = rng.choice(["visa", "visa", "mastercard", "mastercard", "amex", "mir", "mir", "troy"])
    starts = {
        "visa": "4",
        "mastercard": rng.choice([f"5{rng.randrange(1, 6)}", str(rng.randrange(2221, 2721))]),
        "amex": rng.choice(["34", "37"]),
        "mir": str(rng.randrange(2200, 2205)),
        "troy": "9792",
    }
    size = 15 if brand == "amex" else 16
    start = starts[brand]
    return _grouped_card(rng, _with_luhn(start + digits(rng, size - 1 - len(start))))


def _not_payment_card(rng: random.Random) -> str:
    form = rng.randrange(4)
    while True:
        number = "".join(c for c in _payment_card(rng) if c.isdigit())
        if form == 0:  # wrong check digit
            number = with_other_end(rng, number, string.digits)
        elif form == 1:  # no brand has this start
            number = _with_luhn(rng.choice("0178") + digits(rng, 14))
        elif form == 2:  # too short
            number = number[:-4]
            if not _valid_elsewhere(number):
                return number
            continue
        else:  # two digits exchanged
            place = next(
                (i for i in range(4, 14) if abs(int(number[i]) - int(number[i + 1])) not in (0, 9)), None
            )
            if place is None:
                continue
            number = number[:place] + number[place + 1] + number[place] + number[place + 2 :]
        return _grouped_card(rng, number)


_IBAN_PATTERNS: Final = {
    "DE": "##################",
    "TR": "####" + "#" + "0" + "################",
    "GB": "LLLL##############",
    "FR": "#######################",
    "NL": "LLLL##########",
    "ES": "####################",
    "AT": "################",
    "PL": "########################",
}


_BIC: Final = {"GB": ("BARC", "NWBK", "LOYD", "MIDL"), "NL": ("ABNA", "INGB", "RABO")}


def _mod97(iban: str) -> int:
    return int("".join(str(int(c, 36)) for c in iban[4:] + iban[:4])) % 97


def _plain_iban(rng: random.Random) -> str:
    country = rng.choice(["DE", "DE", "TR", "TR", "TR", "GB", "FR", "NL", "ES", "AT", "PL"])
    body = template(rng, _IBAN_PATTERNS[country].replace("LLLL", rng.choice(_BIC.get(country, ("",)))))
    return f"{country}{98 - _mod97(country + '00' + body):02}{body}"


def _spaced(value: str, size: int) -> str:
    return " ".join(value[start : start + size] for start in range(0, len(value), size))


def _iban(rng: random.Random) -> str:
    value = _plain_iban(rng)
    return _spaced(value, 4) if rng.random() < 0.6 else value


def _not_iban(rng: random.Random) -> str:
    value = _plain_iban(rng)
    wrong = str((int(value[2:4]) + rng.randrange(1, 80)) % 97 + 1).zfill(2)
    while _mod97(value[:2] + wrong + value[4:]) == 1:
        wrong = f"{rng.randrange(2, 99):02}"
    candidate = rng.choice(
        [
            value[:2] + wrong + value[4:],
            value[:-3],
            "XX" + value[2:],
            value[:2] + "00" + "0" * (len(value) - 4),
        ],
    )
    return _spaced(candidate, 4) if rng.random() < 0.5 else candidate


def _inn_check(number: str, weights: tuple[int, ...]) -> str:
    return str(sum(int(d) * w for d, w in zip(number, weights, strict=False)) % 11 % 10)


_INN_10: Final = (2, 4, 10, 3, 5, 9, 4, 6, 8)


_INN_11: Final = (7, 2, 4, 10, 3, 5, 9, 4, 6, 8)


_INN_12: Final = (3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8)


def _inn_ok(number: str) -> bool:
    if len(number) == 10:
        return _inn_check(number, _INN_10) == number[9]
    return len(number) == 12 and _inn_check(number, _INN_11) + _inn_check(number, _INN_12) == number[10:]


def _ru_inn(rng: random.Random) -> str:
    region = rng.choice(["77", "78", "50", "66", "16", "23", "54", "61", "02", "63", "74", "52"])
    if rng.random() < 0.45:
        body = region + template(rng, "##") + digits(rng, 5)
        return body + _inn_check(body, _INN_10)
    body = region + template(rng, "##") + digits(rng, 6)
    body += _inn_check(body, _INN_11)
    return body + _inn_check(body, _INN_12)


def _snils_check(number: str) -> str:
    total = sum(int(d) * w for d, w in zip(number, range(9, 0, -1), strict=True)) % 101
    return f"{total % 100:02}"


def _plain_snils(rng: random.Random) -> str:
    body = str(rng.randrange(2, 200)).zfill(3) + digits(rng, 6)
    return body + _snils_check(body)


def _written_snils(rng: random.Random, number: str) -> str:
    separator = rng.choice([" ", " ", " ", "-", "plain"])
    if separator == "plain":
        return number
    return grouped(number[:9], [3, 3, 3], "-") + separator + number[9:]


def _ru_snils(rng: random.Random) -> str:
    return _written_snils(rng, _plain_snils(rng))


def _tckn_checks(body: str) -> str:
    digits = [int(d) for d in body]
    tenth = (sum(digits[0::2]) * 7 - sum(digits[1::2])) % 10
    return f"{tenth}{(sum(digits) + tenth) % 10}"


def _tr_tckn(rng: random.Random) -> str:
    body = rng.choice("123456") + digits(rng, 8)
    return body + _tckn_checks(body)


def _valid_elsewhere(number: str) -> bool:
    """Whether the digits are a valid number of any kind that has a checksum."""
    return (
        _inn_ok(number)
        or (len(number) == 11 and _snils_check(number[:9]) == number[9:])
        or (len(number) == 11 and number[0] != "0" and _tckn_checks(number[:9]) == number[9:])
        or (len(number) >= 13 and _luhn_ok(number))
    )


def _invalid_digits(rng: random.Random, make: Maker) -> str:
    """The digits of a valid number with another end, or a digit more, that are valid nowhere."""
    while True:
        number = make(rng)
        number = (
            number + rng.choice(string.digits)
            if rng.random() < 0.2
            else with_other_end(rng, number, string.digits)
        )
        if not _valid_elsewhere(number):
            return number


def _not_ru_inn(rng: random.Random) -> str:
    return _invalid_digits(rng, _ru_inn)


def _not_ru_snils(rng: random.Random) -> str:
    number = _invalid_digits(rng, _plain_snils)
    return _written_snils(rng, number) if len(number) == 11 else number


def _not_tr_tckn(rng: random.Random) -> str:
    return _invalid_digits(rng, _tr_tckn)


def _ru_passport(rng: random.Random) -> str:
    region, year = (
        rng.choice(["45", "40", "46", "65", "92", "03", "60", "36", "22"]),
        f"{rng.randrange(1, 24):02}",
    )
    number = str(rng.randrange(100_000, 999_999))
    return rng.choice(
        [
            f"{region} {year} {number}",
            f"{region}{year} {number}",
            f"{region}{year} № {number}",
            f"{region}{year}{number}",
            f"{region} {year} № {number}",
            f"{region}{year}-{number}",
        ],
    )


def _not_ru_passport(rng: random.Random) -> str:
    return rng.choice(
        [
            template(rng, "45 0# 12#"),
            template(rng, "45## ####"),
            "XX XX XXXXXX",
            "0000 000000",
            "__ __ ______",
            template(rng, "4# 1# 5####"),
        ],
    )


def _us_ssn(rng: random.Random) -> str:
    while True:
        area = rng.randrange(1, 900)
        number = f"{area:03}{rng.randrange(1, 100):02}{rng.randrange(1, 10_000):04}"
        if area != 666 and number not in {"078051120", "123456789", "219099999", "457555462"}:
            return grouped(number, [3, 2, 4], rng.choice(["-", "-", "-", "-", " ", ""]))


def _not_us_ssn(rng: random.Random) -> str:
    return rng.choice(
        [
            template(rng, "000-4#-1###"),
            template(rng, "666-2#-3###"),
            template(rng, "9##-1#-4###"),
            template(rng, "4##-00-5###"),
            template(rng, "51#-3#-0000"),
            "XXX-XX-XXXX",
            template(rng, "***-**-####"),
            template(rng, "31#-2##-###"),
        ],
    )


SYNTHETIC: Final[dict[str, Maker]] = {
    "payment_card": _payment_card,
    "iban": _iban,
    "ru_inn": _ru_inn,
    "ru_snils": _ru_snils,
    "ru_passport": _ru_passport,
    "tr_tckn": _tr_tckn,
    "us_ssn": _us_ssn,
}
NEAR_MISS: Final[dict[str, Maker]] = {
    "payment_card": _not_payment_card,
    "iban": _not_iban,
    "ru_inn": _not_ru_inn,
    "ru_snils": _not_ru_snils,
    "ru_passport": _not_ru_passport,
    "tr_tckn": _not_tr_tckn,
    "us_ssn": _not_us_ssn,
}
