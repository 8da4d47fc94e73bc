"""The detector of prompt injection: the windows of each text, rated by the model."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from penstock.contract.guard.checks import CheckedText, Finding
from penstock.contract.guard.policies import DetectorName
from services.guard.classifier.batching import BatchingEncoder, EncoderOverloaded, Rate
from services.guard.classifier.encoder import Vectors
from services.guard.classifier.spelling import plain
from services.guard.detectors.detector import QUEUE_FULL, TOO_MUCH_TEXT, Detection, DetectorUnavailable
from services.guard.detectors.remembered import Reading, Readings
from services.guard.injection.model import InjectionModel
from services.guard.injection.windows import MOST_COST, Limits, Window, chosen, windows_of

__all__ = ["LIMITS", "MOST_WINDOWS", "InjectionDetector"]

CATEGORY: Final = "prompt_injection"
SEARCHED: Final = frozenset({"user", "tool", "output"})
"""The origins whose texts are searched: what the application and earlier answers say is not an attack."""
LIMITS: Final = Limits(of_text=20_000, of_check=40_000, first_of_text=1_600)
"""What is encoded, in characters of prose: 0.3 s of CPU for one text and 0.6 s for one check. Where there is more, the
n-grams choose the windows: an attack in words that are far from those of the training texts can be left out there."""
MOST_WINDOWS: Final = 12_000
"""The windows of one check that are rated at all, more than a megabyte of ASCII has: 1 s of n-grams. Where there are
more, the detector says that there is too much text, and what it found in those."""
_NGRAM_SHARE: Final = 20
"""How many times as long encoding takes."""
_WITHOUT_BREAK: Final = 50
"""The windows that are cut, 1 to 5 ms, before the event loop goes on with other checks."""


class InjectionDetector:
    name: Final[DetectorName] = "prompt_injection"

    def __init__(self, encoder: BatchingEncoder) -> None:
        self._encoder = encoder
        self._model = InjectionModel(encoder.encoder)

    async def read(self, texts: Sequence[CheckedText]) -> Readings:
        """The windows of each text that look like an attack. Raises DetectorUnavailable."""
        windows, left_out = await _windows(texts)
        rated = await self._chosen(windows, texts)
        rates = await self._run(self._model.rate, rated, texts, 1)
        by_text: defaultdict[int, dict[Window, float]] = defaultdict(dict)
        for window, rate in zip(rated, rates[:, 0].tolist(), strict=True):
            by_text[window.text][window] = rate
        for window, rate in (await self._of_new_characters(by_text, texts)).items():
            by_text[window.text][window] = rate
        not_whole = left_out | _not_whole(windows, by_text)
        return Readings(
            [
                Reading(self._detection(by_text[index], text.start), index not in not_whole)
                for index, text in enumerate(texts)
            ],
            TOO_MUCH_TEXT if left_out else "",
        )

    async def _of_new_characters(
        self, rates: Mapping[int, Mapping[Window, float]], texts: Sequence[CheckedText]
    ) -> dict[Window, float]:
        """The rates of the characters that were not checked before, in windows whose other ones are an attack."""
        least = self._model.threshold
        both = [
            window
            for of_text in rates.values()
            for window, rate in of_text.items()
            if rate >= least and window.start < texts[window.text].start
        ]
        checked = [
            Window(window.text, window.start, texts[window.text].start, window.cost) for window in both
        ]
        new = [Window(window.text, texts[window.text].start, window.end, window.cost) for window in both]
        found = (await self._run(self._model.rate, checked + new, texts, 1))[:, 0].tolist()
        by_window = zip(both, found[: len(both)], found[len(both) :], strict=True)
        return {window: after for window, before, after in by_window if before >= least}

    async def _chosen(self, windows: Sequence[Window], texts: Sequence[CheckedText]) -> Sequence[Window]:
        costs: Counter[int] = Counter()
        for window in windows:
            costs[window.text] += window.cost
        if costs.total() <= LIMITS.of_check and max(costs.values(), default=0) <= LIMITS.of_text:
            return windows
        suspicion = await self._run(self._suspicion, windows, texts, _NGRAM_SHARE)
        return chosen(windows, suspicion[:, 0].tolist(), LIMITS)

    def _suspicion(self, texts: Sequence[str]) -> Vectors:
        return np.array([[self._model.ngrams.of(plain(text))] for text in texts], dtype=np.float32)

    async def _run(
        self, rate: Rate, windows: Sequence[Window], texts: Sequence[CheckedText], share: int
    ) -> Vectors:
        """`share`: how many times as long encoding takes."""
        contents = [texts[window.text].text[window.start : window.end] for window in windows]
        try:
            return await self._encoder.run(rate, contents, [window.cost // share + 1 for window in windows])
        except EncoderOverloaded as full:
            raise DetectorUnavailable(QUEUE_FULL) from full

    def _detection(self, rates: Mapping[Window, float], checked: int) -> Detection:
        """`checked`: the characters that were checked before are not reported again."""
        if not rates:
            return Detection()
        found = (
            Finding(
                start=max(window.start, checked),
                end=window.end,
                category=CATEGORY,
                detector=self.name,
                score=round(rate, 4),
            )
            for window, rate in rates.items()
            if rate >= self._model.threshold
        )
        return Detection(tuple(found), {CATEGORY: round(max(rates.values()), 4)})


async def _windows(texts: Sequence[CheckedText]) -> tuple[list[Window], set[int]]:
    """The windows to rate, and the texts of which some are left out."""
    found: list[Window] = []
    left_out: set[int] = set()
    for index, text in enumerate(texts):
        if text.origin not in SEARCHED:
            continue
        for window in windows_of(index, text.text):
            if window.end <= text.start:
                continue
            if len(found) == MOST_WINDOWS:
                left_out.add(index)
                break
            found.append(window)
            if len(found) % _WITHOUT_BREAK == 0:
                await asyncio.sleep(0)
    return found, left_out


def _not_whole(windows: Sequence[Window], rated: Mapping[int, Mapping[Window, float]]) -> set[int]:
    """The texts of which less is rated than by themselves."""
    missing = {window.text for window in windows if window not in rated.get(window.text, {})}
    return {
        text
        for text in missing
        if sum(window.cost for window in rated.get(text, {})) + MOST_COST <= LIMITS.of_text
    }
