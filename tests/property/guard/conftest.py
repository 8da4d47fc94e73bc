"""The local detectors, loaded once for all tests of a process."""

from __future__ import annotations

import pytest

from services.guard.personal_data.detector import PersonalDataDetector
from services.guard.secrets.detector import SecretDetector
from tests.harness.guard.findings import Both


@pytest.fixture(scope="session")
def both() -> Both:
    return Both(SecretDetector(), PersonalDataDetector())
