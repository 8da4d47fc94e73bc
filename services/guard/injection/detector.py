"""The detector of prompt injection: the windows of each text, rated by the model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import numpy as np

from penstock.contract.guard.checks import CheckedText, Finding
from penstock.contract.guard.policies import DetectorName
from services.guard.classifier.batching import BatchingEncoder, EncoderOverloaded, Rate
from services.guard.classifier.encoder import Vectors
from services.guard.detectors.detector import QUEUE_FULL, Detection, DetectorUnavailable
from services.guard.injection.model import InjectionModel
from services.guard.injection.windows import Window, chosen, windows_of

__all__ = ["FEWEST_CHARACTERS", "MOST_CHARACTERS", "MOST_IN_WORK", "InjectionDetector"]

CATEGORY: Final = "prompt_injection"
SEARCHED: Final = frozenset({"user", "tool", "output"})
"""The origins whose texts are searched: what the application and earlier answers say is not an attack."""
MOST_CHARACTERS: Final = 20_000
"""The characters of one text that are encoded, 0.3 s of CPU. In longer ones the n-grams choose the windows: an attack
in words that are far from those of the training texts can be left out there."""
MOST_IN_WORK: Final = 40_000
"""While so many characters wait to be encoded, of each further text only `FEWEST_CHARACTERS` are: a request with many
long texts gets its verdict in time."""
FEWEST_CHARACTERS: Final = 1_600


class InjectionDetector:
    name: Final[DetectorName] = "prompt_injection"

    def __init__(self, encoder: BatchingEncoder) -> None:
        self._encoder = encoder
        self._model = InjectionModel(encoder.encoder)
        self._in_work = 0

    async def detect(self, texts: Sequence[CheckedText]) -> Detection:
        """The windows that look like an attack. Raises DetectorUnavailable."""
        searched = [(index, text) for index, text in enumerate(texts) if text.origin in SEARCHED]
        by_text = await asyncio.gather(*(self._rated(index, text) for index, text in searched))
        rates = {window: rate for rated in by_text for window, rate in rated.items()}
        if not rates:
            return Detection()
        found = tuple(
            _finding(window, texts[window.text].start, rate)
            for window, rate in rates.items()
            if rate >= self._model.threshold
        )
        return Detection(found, {CATEGORY: round(max(rates.values()), 4)})

    async def _rated(self, index: int, text: CheckedText) -> dict[Window, float]:
        windows = [window for window in windows_of(index, text.text) if window.end > text.start]
        if sum(window.characters for window in windows) > self._most_characters():
            suspicion = (await self._run(self._suspicion, _contents(windows, text)))[:, 0].tolist()
            windows = chosen(windows, suspicion, self._most_characters())
        characters = sum(window.characters for window in windows)
        self._in_work += characters
        try:
            rates = await self._run(self._model.rate, _contents(windows, text))
        finally:
            self._in_work -= characters
        return dict(zip(windows, rates[:, 0].tolist(), strict=True))

    def _most_characters(self) -> int:
        return min(MOST_CHARACTERS, max(FEWEST_CHARACTERS, MOST_IN_WORK - self._in_work))

    def _suspicion(self, texts: Sequence[str]) -> Vectors:
        return np.array([[self._model.ngrams.of(text)] for text in texts], dtype=np.float32)

    async def _run(self, rate: Rate, texts: Sequence[str]) -> Vectors:
        try:
            return await self._encoder.run(rate, texts)
        except EncoderOverloaded as full:
            raise DetectorUnavailable(QUEUE_FULL) from full


def _contents(windows: Sequence[Window], text: CheckedText) -> list[str]:
    return [text.text[window.start : window.end] for window in windows]


def _finding(window: Window, checked: int, score: float) -> Finding:
    """`checked`: the characters that were checked before are not reported again."""
    return Finding(
        text=window.text,
        start=max(window.start, checked),
        end=window.end,
        category=CATEGORY,
        detector=InjectionDetector.name,
        score=round(score, 4),
    )
