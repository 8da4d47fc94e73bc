"""Redacting the pieces of a stream with the guard's own detectors equals redacting the whole text."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contract.guard.checks import CheckedText
from penstock.contract.guard.policies import KINDS
from services.guard.personal_data.detector import PersonalDataDetector
from services.guard.secrets.detector import SecretDetector
from services.worker.guard.candidates import WINDOW
from tests.harness.guard.labelled_findings import labelled_texts
from tests.harness.guard.streamed_texts import (
    Found,
    chunks_of,
    pieces_of,
    redacted,
    redacted_pieces,
    texts_with,
)
from tests.harness.guard.synthetic_values import synthetic

_Detect = Callable[[str], Sequence[Found]]
_NAMES: Final = {
    "generic_secret": "password = ",
    "ru_inn": "ИНН ",
    "ru_snils": "СНИЛС ",
    "ru_passport": "паспорт ",
    "tr_tckn": "TCKN ",
    "us_ssn": "SSN ",
    "phone": "call ",
}
"""Words before values that are found by their names only."""
_KINDS: Final = [kind for kinds in KINDS.values() for kind in kinds if kind != "other_secret"]


def _named(kind: str, seed: int) -> str:
    return _NAMES.get(kind, "") + synthetic(kind, random.Random(seed))


_VALUES: Final = st.builds(_named, st.sampled_from(_KINDS), st.integers(0, 2**32))


@pytest.fixture(scope="module")
def detect() -> _Detect:
    detectors = SecretDetector(), PersonalDataDetector()

    def find(text: str) -> list[Found]:
        matches = [match for each in detectors for match in each.find(CheckedText(text=text))]
        found: list[Found] = []
        for match in sorted(matches, key=lambda each: (each.start, -each.end)):
            last = found[-1] if found else None
            if last is None or match.start >= last.end:
                found.append(Found(match.start, match.end, match.kind))
            elif match.end > last.end:
                found[-1] = Found(last.start, match.end, last.kind)
        return found

    return find


@given(st.data())
def test_g3_the_detectors_find_the_same_in_pieces(detect: _Detect, data: st.DataObject) -> None:
    text = data.draw(texts_with(_VALUES, noise=False))
    pieces = pieces_of(data.draw(chunks_of(text)), WINDOW)
    assert redacted_pieces(pieces, detect) == redacted(text, detect)


def test_g3_the_detectors_find_the_same_in_pieces_of_the_labelled_texts(detect: _Detect) -> None:
    for labelled in labelled_texts(seed=11):
        pieces = pieces_of([labelled.text], WINDOW)
        assert redacted_pieces(pieces, detect) == redacted(labelled.text, detect), labelled.line
