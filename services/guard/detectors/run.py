"""Runs detectors in parallel, each within its own time; one that fails fails alone."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from penstock.bus.clock import loop_now_s
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.guard.checks import CheckedText
from penstock.contract.guard.policies import DetectorName
from services.guard.detectors.detector import (
    FAILURE_REASONS,
    NOT_ENABLED,
    TIMEOUT,
    Detection,
    Detector,
    DetectorUnavailable,
    FailureReason,
)
from services.guard.detectors.outcome import Outcome
from services.guard.metrics import GuardMetrics

__all__ = ["DetectorRunner"]

_log: Final = rate_limited_logger(__name__, by="text")
_NOTHING: Final = Detection()


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

    async def run(self, names: Iterable[DetectorName], texts: Sequence[CheckedText]) -> Outcome:
        """Ask each detector once; without texts none is asked."""
        asked = list(dict.fromkeys(names)) if texts else []
        if len(asked) == 1:
            answers = [await self._one(asked[0], texts)]
        else:
            answers = await asyncio.gather(*(self._one(name, texts) for name in asked))
        found = tuple(detection for detection, _ in answers)
        return Outcome(found, {name: why for name, (_, why) in zip(asked, answers, strict=True) if why})

    def refused(self, names: Iterable[DetectorName], why: FailureReason) -> Outcome:
        """The outcome of a check that no detector shall read."""
        asked = list(dict.fromkeys(names))
        for name in asked:
            self._note_failure(name, why)
        return Outcome((), dict.fromkeys(asked, why))

    async def _one(self, name: DetectorName, texts: Sequence[CheckedText]) -> tuple[Detection, str]:
        """What it found, and why it did not check all texts; empty if it did."""
        began_s = loop_now_s()
        try:
            async with asyncio.timeout(self._timeouts_s.get(name)):
                found, why = await self._detection(name, texts)
        except TimeoutError:
            found, why = _NOTHING, TIMEOUT
        self._metrics.detector_duration.labels(name).observe(loop_now_s() - began_s)
        if why:
            self._note_failure(name, why)
        return found, why

    def _note_failure(self, name: DetectorName, why: str) -> None:
        self._metrics.failures.labels(name, why if why in FAILURE_REASONS else "error").inc()
        _log.warning("detector %s did not check a text: %s", name, why)

    async def _detection(self, name: DetectorName, texts: Sequence[CheckedText]) -> tuple[Detection, str]:
        detector, why = self._detectors.get(name), ""
        if detector is None:
            return _NOTHING, NOT_ENABLED
        try:
            found = await detector.detect(texts)
        except DetectorUnavailable as unavailable:
            found, why = unavailable.found, str(unavailable)
        except TimeoutError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one detector, the others are asked
            # Not the message: that of a UnicodeError has the text.
            place = traceback.extract_tb(error.__traceback__)[-1]
            return _NOTHING, f"{type(error).__name__} at {place.name}:{place.lineno}"
        return (found, why) if _is_valid(found, texts) else (_NOTHING, "a finding outside the texts")


def _is_valid(found: Detection, texts: Sequence[CheckedText]) -> bool:
    return all(
        0 <= each.text < len(texts)
        and (0 <= each.start < each.end <= len(texts[each.text].text) or each.start == each.end == 0)
        for each in found.findings
    )
