"""The detector of prompt injection: a classifier over windows of each text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from penstock.contract.guard.checks import CheckedText, Finding
from penstock.contract.guard.policies import DetectorName
from services.guard.classifier.batching import BatchingEncoder, EncoderOverloaded
from services.guard.classifier.head import load_head
from services.guard.detectors.detector import Detection, DetectorUnavailable
from services.guard.injection.windows import Window, windows

__all__ = ["InjectionDetector"]

CATEGORY: Final = "prompt_injection"
SEARCHED: Final = frozenset({"user", "tool", "output"})
"""The origins whose texts are searched: what the application and earlier answers say is not an attack."""
THRESHOLD: Final = 0.9
MOST_WINDOWS: Final = 48
"""The windows of one text that are rated, 200 ms of CPU. Up to 14,000 characters are covered completely."""


class InjectionDetector:
    name: Final[DetectorName] = "prompt_injection"

    def __init__(self, encoder: BatchingEncoder) -> None:
        self._encoder = encoder
        self._head = load_head("injection")

    async def detect(self, texts: Sequence[CheckedText]) -> Detection:
        """The windows that look like an attack. Raises DetectorUnavailable."""
        places = [
            (index, window)
            for index, text in enumerate(texts)
            if text.origin in SEARCHED
            for window in windows(text.text, text.start, MOST_WINDOWS)
        ]
        if not places:
            return Detection()
        try:
            rows = await self._encoder.run(
                self._encoder.encoder.encode,
                [texts[index].text[place.start : place.end] for index, place in places],
            )
        except EncoderOverloaded as full:
            raise DetectorUnavailable("queue full") from full
        scores = self._head.probabilities(rows)[:, self._head.labels.index("injection")]
        found = tuple(
            _finding(index, place, float(score))
            for (index, place), score in zip(places, scores, strict=True)
            if score >= THRESHOLD
        )
        return Detection(found, {CATEGORY: round(float(scores.max()), 4)})


def _finding(text: int, place: Window, score: float) -> Finding:
    return Finding(
        text=text,
        start=place.start,
        end=place.end,
        category=CATEGORY,
        detector=InjectionDetector.name,
        score=round(score, 4),
    )
