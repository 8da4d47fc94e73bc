"""The limits of the calls to one service: how many at once and a minute, pauses that it asks for, and its breaker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from penstock.runtime.config.catalogue import Breaker
from penstock.runtime.outbound.breaker import BreakerAdmission, CircuitBreaker
from services.guard.detectors.detector import BREAKER_OPEN, NO_QUOTA, DetectorUnavailable
from services.guard.remote.rater import CallFailed
from services.guard.remote.request_rate import RequestRate

__all__ = ["CallLimits"]

_MOST_WAIT_S: Final = 0.5
"""Seconds for which a call waits for the rate limit: a burst is spread, an exhausted limit is reported."""
_DEFAULT_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0
"""Seconds for which a refused call pauses all others, without and with a hint of the service. A wrong hint must not
switch the detector off for long."""
_LATE_S: Final = 0.5
"""Seconds after the end of its time at which a call can still end because of that: later, this process was frozen."""


class CallLimits:
    def __init__(
        self,
        max_concurrency: int,
        requests_per_minute: int | None,
        timeout_s: float,
        now_s: Callable[[], float],
        breaker: Breaker = Breaker(),  # noqa: B008 - frozen
    ) -> None:
        self._slots = asyncio.Semaphore(max_concurrency)
        self._rate = RequestRate(requests_per_minute)
        self._slow_s = timeout_s / 2
        self._most_s = timeout_s + _LATE_S
        self._now_s = now_s
        self._breaker = CircuitBreaker(breaker)
        self._paused_until_s = 0.0

    @asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        """Around one call, whose CallFailed it sees. Raises DetectorUnavailable if no call may be made now."""
        self._check()
        async with self._slots:
            await self._within_rate()
            admission = self._admission()
            began_s = self._now_s()
            try:
                yield
            except CallFailed as failed:
                self._failed(admission, failed, began_s)
                raise
            except BaseException:  # cancelled at the end of the time for the detector, or of the check
                self._cancelled(admission, began_s)
                raise
            self._breaker.succeeded(admission, self._now_s())

    def _check(self) -> None:
        """Do not let calls wait for a slot that may not be made anyway."""
        now_s = self._now_s()
        if now_s < self._paused_until_s:
            raise DetectorUnavailable(NO_QUOTA)
        if self._breaker.retry_at_s(now_s) > now_s:
            raise DetectorUnavailable(BREAKER_OPEN)

    async def _within_rate(self) -> None:
        wait_s = self._rate.wait_s(self._now_s())
        if wait_s > _MOST_WAIT_S:
            raise DetectorUnavailable(NO_QUOTA)
        self._rate.take()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        self._check()

    def _admission(self) -> BreakerAdmission:
        admission = self._breaker.admit(self._now_s())
        if not admission.admitted:
            raise DetectorUnavailable(BREAKER_OPEN)
        return admission

    def _failed(self, admission: BreakerAdmission, failed: CallFailed, began_s: float) -> None:
        now_s = self._now_s()
        if failed.kind == "outage" and now_s - began_s < self._most_s:
            self._breaker.failed(admission, now_s)
            return
        self._breaker.abandoned(admission, now_s)
        if failed.kind == "quota":
            pause_s = _DEFAULT_PAUSE_S if failed.retry_after_s is None else failed.retry_after_s
            until_s = now_s + min(pause_s, _LONGEST_PAUSE_S)
            self._paused_until_s = max(self._paused_until_s, until_s)

    def _cancelled(self, admission: BreakerAdmission, began_s: float) -> None:
        """A call that was given most of the time is a timeout; one that began late, or ends long after its time because
        this process was frozen, says nothing about the service.
        """
        now_s = self._now_s()
        if self._slow_s <= now_s - began_s < self._most_s:
            self._breaker.failed(admission, now_s)
        else:
            self._breaker.abandoned(admission, now_s)
