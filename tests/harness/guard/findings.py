"""What a detector finds in a text, as pairs of kind and value."""

from __future__ import annotations

from penstock.contract.guard.checks import CheckedText
from services.guard.detectors.detector import TextDetector

__all__ = ["found_in"]


def found_in(detector: TextDetector, text: str) -> list[tuple[str, str]]:
    return [(match.kind, text[match.start : match.end]) for match in detector.find(CheckedText(text=text))]
