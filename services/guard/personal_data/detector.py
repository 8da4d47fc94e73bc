"""Personal data in a text: one search for all kinds, precise checks of the candidates, one kind for each place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from penstock.contract.guard.checks import CheckedText
from penstock.contract.guard.policies import DetectorName
from services.guard.detectors.detector import Match
from services.guard.matching.escapes import search_as_read
from services.guard.matching.patterns import PatternSet
from services.guard.matching.slices import search_in_slices
from services.guard.personal_data.american import AMERICAN_NUMBERS
from services.guard.personal_data.email_addresses import EMAIL_ADDRESSES
from services.guard.personal_data.ibans import IBANS
from services.guard.personal_data.ip_addresses import IP_ADDRESSES
from services.guard.personal_data.payment_cards import PAYMENT_CARDS
from services.guard.personal_data.phones import PHONES
from services.guard.personal_data.russian import RUSSIAN_NUMBERS
from services.guard.personal_data.turkish import TURKISH_NUMBERS

__all__ = ["PersonalDataDetector"]


class PersonalDataDetector:
    """Finds the kinds of the category `personal_data`, in time linear in the length of a text."""

    name: Final[DetectorName] = "personal_data"

    def __init__(self) -> None:
        self._patterns = PatternSet(
            (
                *EMAIL_ADDRESSES,
                *PHONES,
                *PAYMENT_CARDS,
                *IBANS,
                *IP_ADDRESSES,
                *RUSSIAN_NUMBERS,
                *TURKISH_NUMBERS,
                *AMERICAN_NUMBERS,
            )
        )

    def find(self, text: CheckedText) -> Sequence[Match]:
        """The places of personal data; those in the context of a text are reported too."""
        return [match for match in self.search(text) if match is not None]

    def search(self, text: CheckedText) -> Iterator[Match | None]:
        """What `find` returns, in steps."""
        return search_as_read(text.text, partial(search_in_slices, find=self._patterns.find))
