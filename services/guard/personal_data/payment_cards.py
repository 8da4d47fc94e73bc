"""Numbers of payment cards, by the ranges and lengths of the issuers and the Luhn check digit."""

from __future__ import annotations

import re
from typing import Final

from services.guard.matching.overlaps import Found
from services.guard.matching.patterns import Pattern, Place
from services.guard.personal_data.checksums import luhn_valid
from services.guard.personal_data.context import Words, stands_alone
from services.guard.personal_data.digit_groups import GAP, digits_of, evenly_grouped, group_end

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
_MOST_ALIKE: Final = 8
"""Times that one digit may stand in a number: those for tests are filled with zeros. Of numbers that a bank assigns,
one in 10,000 has more, and one in 250 of those that begin with three zeros after the first digit."""
_IN_GROUPS: Final = 16
_LONGEST: Final = 19
_NAMED: Final = 960
"""The least rank of groups that no issuer prints: a word stands near before them."""
_IBAN_BEFORE: Final = re.compile(r"\b[A-Z]{2}\d{2}(?: [0-9A-Z]{4})* \Z")
_TEST_NUMBERS: Final = frozenset(
    {"4242424242424242", "4012888888881881", "4000056655665556", "5555555555554444", "5105105105105100"}
    | {"2223003122003222", "378282246310005", "371449635398431", "6011111111111117", "30569309025904"}
    | {"6011000990139424", "3566002020360505", "3530111333300000", "5555555555554477", "2202474301322987"}
    | {"4217651111111119", "4012000033330026", "4012000077777777", "5555341244441115", "378734493671000"}
    | {
        "2223000048410010",
        "5200828282828210",
        "2223000048400011",
        "4917610000000000",
        "5019717010103742",
        "6331101999990016",
    }
)
"""Numbers that payment providers publish for tests and that are not filled with one digit."""


def _check(place: Place) -> Found | None:
    """The whole candidate, or its first 16 digits in groups: a security code may follow them."""
    written = place.value
    parts = written, written[: group_end(written, _IN_GROUPS)]
    value = next((part for part in parts if _is_card(digits_of(part))), "")
    if not value or not stands_alone(place) or _IBAN_BEFORE.search(place.text.before(place.start, 40)):
        return None
    rank = _WORDS.rank(place)
    if not rank and len(value) in _UNGROUPED_NEEDING_WORDS and value.isdigit():
        return None
    return Found(place.start, place.start + len(value.encode()), "payment_card", max(rank, _RANK))


def _check_named(place: Place) -> Found | None:
    """A number in groups of any length, after a word that is near; other groups may follow it."""
    written = place.value
    for digits in range(_LONGEST, 12, -1):
        value = written[: group_end(written, digits)]
        if value and evenly_grouped(value) and _is_card(digits_of(value)) and stands_alone(place):
            rank = _WORDS.rank(place)
            end = place.start + len(value.encode())
            return Found(place.start, end, "payment_card", max(rank, _RANK)) if rank >= _NAMED else None
    return None


def _is_card(digits: str) -> bool:
    if not digits or not luhn_valid(digits) or digits in _TEST_NUMBERS:
        return False
    if len(set(digits)) < _FEW_DIGITS or max(map(digits.count, set(digits))) > _MOST_ALIKE:
        return False
    prefix = int(digits[:_PREFIX_DIGITS])
    return any(first <= prefix <= last and len(digits) in lengths for first, last, lengths in _RANGES)


_CARD_GAP: Final = rf"(?:{GAP}|\.)"
PAYMENT_CARDS: Final = (
    Pattern(rf"\b(?:\d{{4}}{_CARD_GAP}){{3}}\d{{4}}(?:{_CARD_GAP}\d{{1,3}})?\b", _check),
    Pattern(rf"\b3\d{{3}}{_CARD_GAP}\d{{6}}{_CARD_GAP}\d{{4,5}}\b", _check),
    Pattern(rf"\b[2-69]\d{{7}}{_CARD_GAP}\d{{8}}\b", _check),
    Pattern(
        rf"\b[2-69]\d(?:{_CARD_GAP}?\d){{11,17}}\b",
        _check_named,
        hint=rf"\b[2-69]\d{{1,11}}{_CARD_GAP}\d\d",
    ),
    Pattern(r"\b\d{13,19}\b", _check),
)
