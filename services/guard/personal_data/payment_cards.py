"""Numbers of payment cards, by the ranges and lengths of the issuers and the Luhn check digit."""

from __future__ import annotations

import re
from typing import Final

from services.guard.matching.overlaps import Found
from services.guard.matching.patterns import Pattern, Place
from services.guard.personal_data.checksums import luhn_valid
from services.guard.personal_data.context import Words, stands_alone

__all__ = ["PAYMENT_CARDS"]

_RANK: Final = 1_100
"""Above a shorter number in it that a word before it names."""
_PREFIX_DIGITS: Final = 6
_RANGES: Final[tuple[tuple[int, int, tuple[int, ...]], ...]] = (
    (220000, 220499, (16, 17, 18, 19)),  # Mir
    (222100, 272099, (16,)),  # Mastercard
    (300000, 305999, (14, 16)),  # Diners Club
    (340000, 349999, (15,)),  # American Express
    (352800, 358999, (16,)),  # JCB
    (360000, 369999, (14,)),  # Diners Club
    (370000, 379999, (15,)),  # American Express
    (380000, 399999, (14, 16)),  # Diners Club
    (400000, 499999, (13, 16, 19)),  # Visa
    (510000, 559999, (16,)),  # Mastercard
    (601100, 601199, (16,)),  # Discover
    (620000, 629999, (16, 17, 18, 19)),  # UnionPay
    (644000, 659999, (16,)),  # Discover, Troy
    (979200, 979299, (16,)),  # Troy
)
_UNGROUPED_NEEDING_WORDS: Final = frozenset({13, 14, 17, 18})
"""Lengths that few cards have and many other numbers (milliseconds since 1970 have 13 digits)."""
_WORDS: Final = Words(
    r"\bcards?\b|\bcc\b|visa|master ?card|maestro|amex|american express|\bpan\b|discover|unionpay|jcb"
    r"|карт|\bмир\b|kart|troy"
)
_FEW_DIGITS: Final = 3
_GROUPED: Final = 19
"""Characters of 16 digits in four groups."""
_NO_GAPS: Final = str.maketrans("", "", " -\xa0")
_IBAN_BEFORE: Final = re.compile(r"\b[A-Z]{2}\d{2}(?: [0-9A-Z]{4})* \Z")
_TEST_NUMBERS: Final = frozenset(
    {"4242424242424242", "4012888888881881", "4000056655665556", "5555555555554444", "5105105105105100"}
    | {"2223003122003222", "378282246310005", "371449635398431", "6011111111111117", "30569309025904"}
)
"""Numbers that payment providers publish for tests."""


def _check(place: Place) -> Found | None:
    """The whole candidate, or its first 16 digits in groups: a security code may follow them."""
    written = place.value
    value = next((part for part in (written, written[:_GROUPED]) if _is_card(part.translate(_NO_GAPS))), "")
    if not value or not stands_alone(place) or _IBAN_BEFORE.search(place.text.before(place.start, 40)):
        return None
    rank = _WORDS.rank(place)
    if not rank and len(value) in _UNGROUPED_NEEDING_WORDS and value.isdigit():
        return None
    return Found(place.start, place.start + len(value.encode()), "payment_card", max(rank, _RANK))


def _is_card(digits: str) -> bool:
    if not luhn_valid(digits) or len(set(digits)) < _FEW_DIGITS or digits in _TEST_NUMBERS:
        return False
    prefix = int(digits[:_PREFIX_DIGITS])
    return any(first <= prefix <= last and len(digits) in lengths for first, last, lengths in _RANGES)


_GAP: Final = r"(?:[ \-]|\x{A0})"
PAYMENT_CARDS: Final = (
    Pattern(rf"\b(?:\d{{4}}{_GAP}){{3}}\d{{4}}(?:{_GAP}\d{{1,3}})?\b", _check),
    Pattern(rf"\b3\d{{3}}{_GAP}\d{{6}}{_GAP}\d{{4,5}}\b", _check),
    Pattern(r"\b\d{13,19}\b", _check),
)
