"""The time of the local detectors grows with the length of a text, not with its square. Proofs with megabytes are in
tests/prove.
"""

from __future__ import annotations

import time

import pytest

from penstock.contract.guard.checks import CheckedText
from tests.harness.guard.adversarial_texts import ADVERSARIAL, adversarial_text

SMALL = 24 * 1024
TIMES = 4
MOST_GROWTH = 2.2
"""Times the growth of the length; a square would be `TIMES`."""
LEAST_S = 0.05
"""Shorter times say nothing."""


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_g6_four_times_the_text_takes_about_four_times_as_long(secret_detector, personal_data_detector, name):
    def once(text: CheckedText) -> float:
        start = time.thread_time()
        secret_detector.find(text)
        personal_data_detector.find(text)
        return time.thread_time() - start

    def cpu_s(characters: int) -> float:
        text = CheckedText(text=adversarial_text(name, characters))
        return once(text)

    def grows() -> bool:
        return cpu_s(TIMES * SMALL) > max(MOST_GROWTH * TIMES * cpu_s(SMALL), LEAST_S)

    cpu_s(1024)
    assert not (grows() and grows())  # once it may include a collection of the garbage of other tests


HOSTILE = {
    "phones": "+4 1234567890 ",
    "named phones": "тел 9161234567 ",
    "assignments": 'password="a1b2c3d4e5" ',
    "access keys": "AKIA" + "QX7B" * 4 + " aws_secret " + "aB3dE5gH7j" * 4 + "\n",
    "accounts": "DE89 3704 0044 0532 0130 01 ",
}
LONGEST_STEP_S = 0.05


@pytest.mark.parametrize("name", HOSTILE)
def test_g4_no_step_of_a_search_takes_long(secret_detector, personal_data_detector, name):
    part = HOSTILE[name]
    text = CheckedText(text=part * (16_384 // len(part)))
    for detector in (secret_detector, personal_data_detector):
        detector.find(text)
        steps = detector.search(text)
        longest_s, began_s = 0.0, time.thread_time()
        for _ in steps:
            longest_s = max(longest_s, time.thread_time() - began_s)
            began_s = time.thread_time()
        assert longest_s < LONGEST_STEP_S
