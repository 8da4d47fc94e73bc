"""The local detectors, loaded once for all tests of a process."""

from __future__ import annotations

import pytest

from services.guard.classifier.encoder import Encoder
from services.guard.personal_data.detector import PersonalDataDetector
from services.guard.secrets.detector import SecretDetector


@pytest.fixture(scope="session")
def secret_detector() -> SecretDetector:
    return SecretDetector()


@pytest.fixture(scope="session")
def personal_data_detector() -> PersonalDataDetector:
    return PersonalDataDetector()


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    return Encoder()
