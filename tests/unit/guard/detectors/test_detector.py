from __future__ import annotations

from collections.abc import Sequence

from penstock.contract.guard.checks import CheckedText, Finding
from services.guard.detectors.detector import (
    Detection,
    Detector,
    DetectorUnavailable,
    Match,
    TextDetector,
)


class Marks:
    name = "secrets"

    def find(self, text: CheckedText) -> Sequence[Match]:
        return [Match(place, place + 1, "jwt") for place, mark in enumerate(text.text) if mark == "!"]


class Violence:
    name = "safety_model"

    async def detect(self, texts: Sequence[CheckedText]) -> Detection:
        if not texts:
            raise DetectorUnavailable("no text")
        return Detection((Finding(category="violence", detector="safety_model"),), {"violence": 1.0})


async def test_g1_a_detector_returns_findings_whose_action_the_policy_decides():
    local: TextDetector = Marks()
    asked: Detector = Violence()

    assert local.find(CheckedText(text="a!")) == [Match(start=1, end=2, kind="jwt", score=1.0)]
    detection = await asked.detect([CheckedText(text="a")])
    assert [finding.action for finding in detection.findings] == ["flag"]
    assert Detection() == Detection((), {})
