"""The time of the local detectors grows with the length of a text, not with its square. Proofs with megabytes are in
tests/prove.
"""

from __future__ import annotations

import time

import pytest

from penstock.contract.guard.checks import CheckedText
from tests.harness.guard.adversarial_texts import ADVERSARIAL, adversarial_text

SMALL = 48 * 1024
TIMES = 4
MOST_GROWTH = 2.2
"""Times the growth of the length; a square would be `TIMES`."""
LEAST_S = 0.05
"""Shorter times say nothing."""


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_g6_four_times_the_text_takes_about_four_times_as_long(secret_detector, personal_data_detector, name):
    def cpu_s(characters: int) -> float:
        text = CheckedText(text=adversarial_text(name, characters))
        start = time.thread_time()
        secret_detector.find(text)
        personal_data_detector.find(text)
        return time.thread_time() - start

    cpu_s(1024)
    assert cpu_s(TIMES * SMALL) < max(MOST_GROWTH * TIMES * cpu_s(SMALL), LEAST_S)
