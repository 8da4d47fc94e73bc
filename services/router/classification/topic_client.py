"""The topic of a text that the rules do not recognise, asked from the guard's classifier within a time limit."""

from __future__ import annotations

import time
from typing import Final

import nats.errors
from nats.aio.client import Client as Nats

from penstock.bus.clock import Clock
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract import codec, subjects
from penstock.contract.guard.checks import MAX_CLASSIFIED_CHARACTERS, Classification, ClassifyRequest
from services.router.metrics import RouterMetrics

__all__ = ["TopicClient"]

_log: Final = rate_limited_logger(__name__)
_WAIT_S: Final = 0.015
"""Seconds for an answer: a request never waits longer for a better role (B6)."""
_MISSES: Final = 5
"""Questions in a row without an answer after which none is asked for `_PAUSE_S`."""
_PAUSE_S: Final = 10.0


class TopicClient:
    def __init__(self, nc: Nats, clock: Clock, metrics: RouterMetrics) -> None:
        self._nc = nc
        self._clock = clock
        self._metrics = metrics
        self._misses = 0
        self._paused_until_s = 0.0

    async def classify(self, text: str) -> Classification | None:
        """The most probable topic; None without an answer in time."""
        if self._clock.monotonic_s() < self._paused_until_s:
            self._metrics.classifications.labels("paused").inc()
            return None
        began_s = time.perf_counter()
        found = await self._ask(text)
        self._metrics.classification_duration.observe(time.perf_counter() - began_s)
        self._metrics.classifications.labels("no_answer" if found is None else found.topic).inc()
        if found is not None:
            self._misses = 0
            return found
        self._misses += 1
        if self._misses >= _MISSES:
            _log.warning("no guard classifies within %d ms: asking again in %d s", _WAIT_S * 1000, _PAUSE_S)
            self._misses = 0
            self._paused_until_s = self._clock.monotonic_s() + _PAUSE_S
        return None

    async def _ask(self, text: str) -> Classification | None:
        question = codec.encode(ClassifyRequest(text=text[:MAX_CLASSIFIED_CHARACTERS]))
        try:
            msg = await self._nc.request(subjects.CLASSIFY, question, timeout=_WAIT_S)
            return codec.CLASSIFICATION.decode(msg.data)
        except nats.errors.Error as error:
            _log.info("a text has no classification: %r", error)
        except codec.INVALID as error:
            _log.warning("the classification of a text cannot be read: %s", error)
        return None
