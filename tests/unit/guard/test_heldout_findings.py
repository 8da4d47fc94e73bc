"""The local detectors on the held-out texts: what they reached after the causes of their first failures were fixed.

The figures of the first run are in tests/data/guard/README.md: only those say what the rules do on unseen texts.
"""

from __future__ import annotations

import pytest

from services.guard.personal_data.detector import PersonalDataDetector
from services.guard.secrets.detector import SecretDetector
from tests.harness.guard.heldout_findings import heldout_texts
from tests.harness.guard.labelled_findings import Score, score
from tests.harness.guard.synthetic_values import KINDS

LABELS = 390
HARMLESS = 138


@pytest.fixture(scope="module")
def scored(secret_detector: SecretDetector, personal_data_detector: PersonalDataDetector) -> Score:
    return score([secret_detector, personal_data_detector], heldout_texts())


def test_g6_all_that_is_labelled_is_found_at_its_place(scored: Score):
    assert scored.recall() == dict.fromkeys(sorted(KINDS), 1.0), scored.mistakes
    assert scored.found.total() == LABELS


def test_g6_nothing_else_is_found(scored: Score):
    assert scored.precision() == dict.fromkeys(sorted(KINDS), 1.0), scored.mistakes
    assert scored.harmless_texts == HARMLESS
    assert scored.harmless_alarms == []
