"""Detectors in the process of the guard, made asynchronous: work that takes long is done in threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from penstock.contract.guard.checks import CheckedText, Finding
from penstock.contract.guard.policies import DetectorName
from services.guard.detectors.detector import Detection, DetectorUnavailable, TextDetector
from services.guard.detectors.fair_threads import FairThreads, advance

__all__ = ["LocalSearch", "ThreadedDetector"]

_MOST_INLINE_CHARACTERS: Final = 16_384
"""Characters of one check with which the event loop begins: about a millisecond, if there is little to check in them.
A thread costs 0.1 ms."""
_INLINE_S: Final = 0.002
"""Seconds after which a thread goes on: digits or names of secrets throughout take up to a hundred times as long."""


class LocalSearch:
    """The search of a detector in the texts of one check."""

    def __init__(self, detector: TextDetector, texts: Sequence[CheckedText], threads: FairThreads) -> None:
        self.finished = False
        self._detector = detector
        self._texts = texts
        self._threads = threads
        self._findings: list[Finding] = []
        self._steps = self._all_steps()

    @property
    def detection(self) -> Detection:
        """What was found until now."""
        return Detection(tuple(self._findings))

    def begin(self) -> None:
        """Read short texts in the event loop, for a short time. Raises DetectorUnavailable."""
        if sum(len(text.text) for text in self._texts) <= _MOST_INLINE_CHARACTERS:
            self.finished = advance(self._steps, _INLINE_S)

    async def finish(self) -> Detection:
        """Raises DetectorUnavailable."""
        if not self.finished:
            await self._threads.run(self._steps)
        return self.detection

    def _all_steps(self) -> Iterator[None]:
        for index, text in enumerate(self._texts):
            try:
                yield from self._steps_of(index, text)
            except DetectorUnavailable as unavailable:
                raise DetectorUnavailable(str(unavailable), self.detection) from unavailable
            yield

    def _steps_of(self, index: int, text: CheckedText) -> Iterator[None]:
        name = self._detector.name
        for match in self._detector.search(text):
            if match is not None:
                self._findings.append(
                    Finding(
                        text=index,
                        start=match.start,
                        end=match.end,
                        category=name,
                        kind=match.kind,
                        detector=name,
                        score=match.score,
                    )
                )
            yield


class ThreadedDetector:
    """A text detector whose category has its name."""

    def __init__(self, detector: TextDetector, threads: FairThreads) -> None:
        self._detector = detector
        self._threads = threads

    @property
    def name(self) -> DetectorName:
        return self._detector.name

    def begun(self, texts: Sequence[CheckedText]) -> LocalSearch:
        """A search that has begun; that of short texts with little to check is finished, sooner than in a task.

        Raises DetectorUnavailable.
        """
        search = LocalSearch(self._detector, texts, self._threads)
        search.begin()
        return search

    async def detect(self, texts: Sequence[CheckedText]) -> Detection:
        """Raises DetectorUnavailable."""
        return await self.begun(texts).finish()
