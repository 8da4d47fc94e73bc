"""How the local detectors do on the labelled texts: recall and precision by kind, no alarm on harmless ones."""

from __future__ import annotations

from itertools import chain

import pytest

from services.guard.personal_data.detector import PersonalDataDetector
from services.guard.secrets.detector import SecretDetector
from tests.harness.guard.labelled_findings import Score, labelled_texts, score
from tests.harness.guard.synthetic_values import KINDS

SEEDS = range(101, 105)
LEAST_RECALL, LEAST_PRECISION = 0.95, 0.97
LEAST_HARMLESS = 330


@pytest.fixture(scope="module")
def scored(secret_detector: SecretDetector, personal_data_detector: PersonalDataDetector) -> Score:
    texts = chain.from_iterable(labelled_texts(seed) for seed in SEEDS)
    return score([secret_detector, personal_data_detector], texts)


def test_g6_each_kind_is_found(scored: Score):
    recall = scored.recall()
    assert set(KINDS) <= recall.keys()
    low = {kind: round(value, 3) for kind, value in recall.items() if value < LEAST_RECALL}
    assert not low, scored.mistakes


def test_g6_findings_of_each_kind_are_right(scored: Score):
    low = {kind: round(value, 3) for kind, value in scored.precision().items() if value < LEAST_PRECISION}
    assert not low, scored.mistakes


def test_g6_harmless_texts_give_no_alarm(scored: Score):
    assert scored.harmless_texts >= LEAST_HARMLESS * len(SEEDS)
    assert scored.harmless_alarms == []
