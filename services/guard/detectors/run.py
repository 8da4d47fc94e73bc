"""Runs detectors in parallel, each within its own time; one that fails fails alone."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from penstock.bus.clock import loop_now_s
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.guard.checks import TIMEOUT, CheckedText
from penstock.contract.guard.policies import DetectorName
from services.guard.detectors.detector import (
    FAILURE_REASONS,
    NOT_ENABLED,
    Detection,
    Detector,
    DetectorUnavailable,
    FailureReason,
)
from services.guard.detectors.local import LocalSearch, ThreadedDetector
from services.guard.detectors.outcome import Outcome
from services.guard.detectors.turns import turn_of
from services.guard.detectors.work_time import WorkTimeout
from services.guard.metrics import GuardMetrics

__all__ = ["DetectorRunner"]

_log: Final = rate_limited_logger(__name__, by="text")
_NOTHING: Final = Detection()
_Answer = tuple[Detection, str]
"""What a detector found, and why it did not check all texts; empty if it did."""


class DetectorRunner:
    def __init__(
        self,
        detectors: Iterable[Detector],
        timeouts_s: Mapping[DetectorName, float],
        metrics: GuardMetrics,
    ) -> None:
        self._detectors = {detector.name: detector for detector in detectors}
        self._timeouts_s = timeouts_s
        self._metrics = metrics

    @property
    def names(self) -> tuple[DetectorName, ...]:
        return tuple(self._detectors)

    async def run(
        self, names: Iterable[DetectorName], texts: Sequence[CheckedText], account: str = ""
    ) -> Outcome:
        """Ask each detector once; without texts none is asked. `account`: whose turn the work is."""
        asked = list(dict.fromkeys(names)) if texts else []
        with turn_of(account):
            begun = {name: self._at_once(name, texts) for name in asked}
            answers = {name: each for name, each in begun.items() if isinstance(each, tuple)}
            slow = {name: each for name, each in begun.items() if not isinstance(each, tuple)}
            if len(slow) == 1:
                ((name, search),) = slow.items()
                answers[name] = await self._one(name, texts, search)
            elif slow:
                found = await asyncio.gather(*(self._one(name, texts, each) for name, each in slow.items()))
                answers |= zip(slow, found, strict=True)
        failures = {name: answers[name][1] for name in asked if answers[name][1]}
        return Outcome(tuple(answers[name][0] for name in asked), failures)

    def refused(self, names: Iterable[DetectorName], why: FailureReason) -> Outcome:
        """The outcome of a check that no detector shall read."""
        asked = list(dict.fromkeys(names))
        for name in asked:
            self._note_failure(name, why)
        return Outcome((), dict.fromkeys(asked, why))

    def _at_once(self, name: DetectorName, texts: Sequence[CheckedText]) -> _Answer | LocalSearch | None:
        """The answer of a detector that needs no task; the search that needs one; None for other detectors."""
        detector = self._detectors.get(name)
        if not isinstance(detector, ThreadedDetector):
            return None
        began_s = loop_now_s()
        try:
            search = detector.begun(texts)
            if not search.finished:
                return search
            answer = _checked(search.detection, texts)
        except Exception as error:  # noqa: BLE001 - as in `_one`
            answer = _failed(error, texts)
        return self._noted(name, began_s, answer)

    async def _one(
        self, name: DetectorName, texts: Sequence[CheckedText], search: LocalSearch | None
    ) -> _Answer:
        began_s = loop_now_s()
        detector = self._detectors.get(name)
        try:
            async with WorkTimeout(self._timeouts_s.get(name)):
                answer = (
                    (_NOTHING, NOT_ENABLED)
                    if detector is None
                    else _checked(await (search.finish() if search else detector.detect(texts)), texts)
                )
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one detector, the others are asked
            answer = _failed(error, texts)
        return self._noted(name, began_s, answer)

    def _noted(self, name: DetectorName, began_s: float, answer: _Answer) -> _Answer:
        self._metrics.detector_duration.labels(name).observe(loop_now_s() - began_s)
        if answer[1]:
            self._note_failure(name, answer[1])
        return answer

    def _note_failure(self, name: DetectorName, why: str) -> None:
        self._metrics.failures.labels(name, why if why in FAILURE_REASONS else "error").inc()
        advice = f"; guard.detectors.{name}.timeout_s is its limit" if why == TIMEOUT else ""
        _log.warning("detector %s did not check a text: %s%s", name, why, advice)


def _failed(error: Exception, texts: Sequence[CheckedText]) -> _Answer:
    if isinstance(error, DetectorUnavailable):
        found, problem = _checked(error.found, texts)
        return found, problem or str(error)
    if isinstance(error, TimeoutError):
        return _NOTHING, TIMEOUT
    # Not the message: that of a UnicodeError has the text.
    place = traceback.extract_tb(error.__traceback__)[-1]
    return _NOTHING, f"{type(error).__name__} at {place.name}:{place.lineno}"


def _checked(found: Detection, texts: Sequence[CheckedText]) -> _Answer:
    return (found, "") if _is_valid(found, texts) else (_NOTHING, "a finding outside the texts")


def _is_valid(found: Detection, texts: Sequence[CheckedText]) -> bool:
    return all(
        0 <= each.text < len(texts)
        and (0 <= each.start < each.end <= len(texts[each.text].text) or each.start == each.end == 0)
        for each in found.findings
    )
