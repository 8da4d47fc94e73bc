"""Detectors in the process of the guard, made asynchronous: long texts are read in threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Final

from penstock.contract.guard.checks import CheckedText, Finding
from penstock.contract.guard.policies import DetectorName
from services.guard.detectors.detector import Detection, TextDetector

__all__ = ["ThreadedDetector"]

_MOST_INLINE: Final = 16_384
"""Characters of one check that are read in the event loop: about a millisecond. A thread costs 0.1 ms."""


class ThreadedDetector:
    """A text detector whose category has its name."""

    def __init__(self, detector: TextDetector, threads: Executor) -> None:
        self._detector = detector
        self._threads = threads

    @property
    def name(self) -> DetectorName:
        return self._detector.name

    def is_quick(self, texts: Sequence[CheckedText]) -> bool:
        """Whether the texts are short enough for `find`."""
        return sum(len(text.text) for text in texts) <= _MOST_INLINE

    def find(self, texts: Sequence[CheckedText]) -> Detection:
        """The same as `detect`, at once: for short texts, which take less time than a task. Raises what it raises."""
        return self._find(texts, None)

    async def detect(self, texts: Sequence[CheckedText]) -> Detection:
        if self.is_quick(texts):
            return self.find(texts)
        given_up = threading.Event()
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self._find, texts, given_up
            )
        finally:
            given_up.set()

    def _find(self, texts: Sequence[CheckedText], given_up: threading.Event | None) -> Detection:
        findings: list[Finding] = []
        for index, text in enumerate(texts):
            if given_up is not None and given_up.is_set():
                break
            findings += (
                Finding(
                    text=index,
                    start=match.start,
                    end=match.end,
                    category=self.name,
                    kind=match.kind,
                    detector=self.name,
                    score=match.score,
                )
                for match in self._detector.find(text)
            )
        return Detection(tuple(findings))
