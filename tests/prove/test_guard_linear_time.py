"""The local detectors on megabytes of adversarial text: linear time, bounded memory."""

from __future__ import annotations

import os
import time

import psutil
import pytest

from penstock.contract.guard.checks import CheckedText
from services.guard.detectors.detector import TextDetector
from services.guard.personal_data.detector import PersonalDataDetector
from services.guard.secrets.detector import SecretDetector
from tests.harness.guard.adversarial_texts import ADVERSARIAL, adversarial_text

pytestmark = [pytest.mark.prove, pytest.mark.timeout(900)]
MB = 1 << 20
MOST_GROWTH = 1.5
"""Times the growth of the length."""
LEAST_S = 0.3
MOST_S_PER_MB = 8.0
LARGE_MB = 50
MOST_RSS_MB = 350
"""More than before; the text and its findings are 50 to 250 MB of it."""


@pytest.fixture(scope="module")
def detectors() -> tuple[TextDetector, ...]:
    return SecretDetector(), PersonalDataDetector()


def _cpu_s(detectors: tuple[TextDetector, ...], text: str) -> float:
    start = time.thread_time()
    for detector in detectors:
        detector.find(CheckedText(text=text))
    return time.thread_time() - start


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_g6_time_grows_with_the_length_of_adversarial_text(detectors, name):
    one, two, four = (_cpu_s(detectors, adversarial_text(name, size * MB)) for size in (1, 2, 4))
    assert two < max(2 * MOST_GROWTH * one, LEAST_S)
    assert four < max(4 * MOST_GROWTH * one, LEAST_S)
    assert four < 4 * MOST_S_PER_MB


def test_g6_fifty_megabytes_of_adversarial_text_take_bounded_memory(detectors):
    part = LARGE_MB * MB // len(ADVERSARIAL)
    text = "\n".join(adversarial_text(name, part) for name in ADVERSARIAL)
    process = psutil.Process(os.getpid())
    before = process.memory_info().rss
    taken_s = _cpu_s(detectors, text)
    grown_mb = (process.memory_info().rss - before) / 1e6
    print(f"{LARGE_MB} MB: {taken_s:.0f} s, {grown_mb:.0f} MB more")
    assert grown_mb < MOST_RSS_MB
    assert taken_s < LARGE_MB * MOST_S_PER_MB
