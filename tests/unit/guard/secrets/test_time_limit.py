"""G4: the search for secrets ends with the time of its detector."""

from __future__ import annotations

import pytest

from penstock.contract.guard.checks import CheckedText
from services.guard.detectors.detector import DetectorUnavailable
from services.guard.secrets.detector import SecretDetector


def test_g4_a_scan_that_takes_longer_than_its_time_is_given_up():
    detector = SecretDetector(scan_s=1e-9)
    with pytest.raises(DetectorUnavailable, match="timeout"):
        detector.find(CheckedText(text="password = a1b2"))
