"""Check digits of numbers. Each function takes digits only, of the right length, and says whether they are valid."""

from __future__ import annotations

from typing import Final

__all__ = ["iban_valid", "inn_valid", "luhn_valid", "snils_valid", "tckn_valid"]

_INN_WEIGHTS: Final = (3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8)
_SNILS_LARGEST: Final = 101
_DOUBLED: Final = str.maketrans("0123456789", "0246813579")


def luhn_valid(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B: each second digit from the right counts twice, as the sum of its digits."""
    return sum(map(int, digits[-1::-2] + digits[-2::-2].translate(_DOUBLED))) % 10 == 0


def iban_valid(iban: str) -> bool:
    """ISO 13616-1 and ISO 7064 MOD 97-10: letters are numbers from 10 on, the first four characters go last."""
    return int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97 == 1


def inn_valid(digits: str) -> bool:
    """The Russian ИНН of a company (10 digits) or a person (12), by the order of the tax service MMV-7-6/435."""
    if len(digits) == 10:
        return _inn_check(digits[:9]) == int(digits[9])
    return _inn_check(digits[:10]) == int(digits[10]) and _inn_check(digits[:11]) == int(digits[11])


def _inn_check(digits: str) -> int:
    weights = _INN_WEIGHTS[-len(digits) :]
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True)) % 11 % 10


def snils_valid(digits: str) -> bool:
    """The Russian СНИЛС: nine digits by the weights 9 to 1, modulo 101; 100 counts as 0."""
    total = sum(int(digit) * (9 - place) for place, digit in enumerate(digits[:9]))
    return total % _SNILS_LARGEST % 100 == int(digits[9:])


def tckn_valid(digits: str) -> bool:
    """The Turkish identity number: the tenth digit follows from the first nine, the eleventh from the first ten."""
    numbers = [int(digit) for digit in digits]
    tenth = (7 * sum(numbers[0:9:2]) - sum(numbers[1:8:2])) % 10
    return numbers[0] != 0 and numbers[9] == tenth and numbers[10] == sum(numbers[:10]) % 10
