"""Check digits, by published examples and by every other last digit."""

from __future__ import annotations

import string

import pytest

from services.guard.personal_data.checksums import iban_valid, inn_valid, luhn_valid, snils_valid, tckn_valid

VALID = [
    (luhn_valid, "4111111111111111"),
    (luhn_valid, "378282246310005"),
    (iban_valid, "GB82WEST12345698765432"),
    (iban_valid, "DE89370400440532013000"),
    (inn_valid, "7707083893"),
    (inn_valid, "500100732259"),
    (snils_valid, "11223344595"),
    (snils_valid, "08765430300"),
    (tckn_valid, "10000000146"),
]


@pytest.mark.parametrize(("check", "number"), VALID)
def test_g1_a_number_is_valid_with_its_check_digit_only(check, number):
    assert check(number)
    others = [number[:-1] + digit for digit in string.digits if digit != number[-1]]
    assert not any(check(other) for other in others)


def test_g1_a_tckn_does_not_begin_with_zero():
    assert not tckn_valid("00000000000")
