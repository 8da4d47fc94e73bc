"""What detectors find in a text."""

from __future__ import annotations

from collections.abc import Callable

from penstock.contract.guard.checks import CheckedText
from services.guard.detectors.detector import Match, TextDetector

__all__ = ["Both", "found_in"]


class Both:
    """Several detectors, asked one after the other."""

    def __init__(self, *detectors: TextDetector) -> None:
        self._detectors = detectors

    def find(self, text: str) -> list[list[Match]]:
        """The findings of each detector."""
        return [list(detector.find(CheckedText(text=text))) for detector in self._detectors]

    def places(self, text: str, keep: Callable[[Match], bool], shift: int = 0) -> list[tuple[int, int, str]]:
        """Start, end and kind of the findings that are kept, moved by `shift`."""
        found = [match for matches in self.find(text) for match in matches if keep(match)]
        return sorted((match.start + shift, match.end + shift, match.kind) for match in found)


def found_in(detector: TextDetector, text: str) -> list[tuple[str, str]]:
    """Pairs of kind and value."""
    return [(match.kind, text[match.start : match.end]) for match in detector.find(CheckedText(text=text))]
