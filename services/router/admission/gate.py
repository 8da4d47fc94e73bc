"""Admission gate: before rejecting, refresh a stale backlog count and decide again."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from penstock.contract import subjects
from penstock.contract.work import ChatWork
from services.router.admission.controller import AdmissionController, AdmissionForecast
from services.router.queues.backlog_poller import BacklogPoller
from services.router.queues.byte_limits import OVERLOADED_RETRY_S, ByteLimits, claim_of
from services.router.queues.roles_in_use import RolesInUse
from services.router.routing.outcome import Rejected, Routed

__all__ = ["AdmissionGate", "QueueReservation"]


class QueueReservation:
    """A reserved place in a mailbox. Leaving the context without `commit()` releases it."""

    def __init__(
        self,
        controller: AdmissionController,
        limits: ByteLimits,
        in_use: RolesInUse,
        work: ChatWork,
        forecast: AdmissionForecast | None,
    ) -> None:
        """`forecast`: None: the request was accepted before."""
        self.estimate = None if forecast is None else forecast.estimate
        """None: not known."""
        self._controller = controller
        self._limits = limits
        self._in_use = in_use
        self._address = controller.reserve(work, None if forecast is None else forecast.arrival)
        self._claim = claim_of(work, self._address.flow)
        self._committed = False
        limits.reserve(self._claim)

    @property
    def subject(self) -> str:
        return subjects.work(*self._address)

    def commit(self) -> None:
        """The work is stored in its mailbox."""
        self._committed = True
        self._controller.commit(self._address)
        self._limits.commit(self._claim)
        self._in_use.record_enqueued(self._address.role)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._committed:
            self._controller.release(self._address)
            self._limits.release(self._claim)


class AdmissionGate:
    def __init__(
        self,
        controller: AdmissionController,
        limits: ByteLimits,
        poller: BacklogPoller,
        in_use: RolesInUse,
    ) -> None:
        self._controller = controller
        self._limits = limits
        self._poller = poller
        self._in_use = in_use

    async def admit(self, routed: Routed, *, accepted_before: bool) -> QueueReservation | Rejected:
        """Reserve a place in the mailbox or reject; no other request is decided between decision and reservation.

        A request accepted before is not decided again: its work may be in the mailbox already.
        """
        forecast = None
        if not accepted_before:
            rejected, forecast = await self.evaluate(routed)
            if rejected is not None:
                return rejected
        return QueueReservation(self._controller, self._limits, self._in_use, routed.work, forecast)

    async def evaluate(self, routed: Routed) -> tuple[Rejected | None, AdmissionForecast]:
        """The decision on this request now, and the forecast of its start; nothing is reserved.

        Asks the server only before a rejection, and no more often than `BacklogPoller` allows: a count that is newer
        than the heartbeats counts requests twice, as queued and as quota that was used.
        """
        counted_s = self._poller.backlog.counted_s
        rejected, forecast = self._evaluate(routed.work)
        if rejected is not None and await self._poller.has_newer_than(counted_s):
            rejected, forecast = self._evaluate(routed.work)
        return rejected, forecast

    def _evaluate(self, work: ChatWork) -> tuple[Rejected | None, AdmissionForecast]:
        forecast = self._controller.forecast(work)
        if forecast.retry_after_s is not None:
            return _rejected_as_late(work, forecast.wait_s, forecast.retry_after_s), forecast
        reason = self._limits.rejection_reason(claim_of(work, forecast.arrival.flow))
        return None if reason is None else _rejected_as_large(work, reason), forecast


def _rejected_as_large(work: ChatWork, reason: str) -> Rejected:
    message = (
        f"{reason}; send the request again in {OVERLOADED_RETRY_S:g} s, when some of the queued requests may have "
        "ended, or enlarge the store (PENSTOCK_STORE_SCALE)"
    )
    return _overloaded(work, message, OVERLOADED_RETRY_S)


def _rejected_as_late(work: ChatWork, wait_s: float, retry_s: float) -> Rejected:
    left_s = (work.deadline_ms - work.accepted_ms) / 1000
    when = (
        ", when workers have reported again: the forecast rests on estimates"
        if retry_s < wait_s - left_s
        else ""
    )
    reason = (
        f"the role {work.role} is forecast to begin with this in {wait_s:.1f} s, too late to end before its "
        f"deadline in {left_s:.1f} s; set a longer timeout, or try again in {retry_s:g} s{when}"
    )
    return _overloaded(work, reason, retry_s)


def _overloaded(work: ChatWork, message: str, retry_after_s: float) -> Rejected:
    return Rejected(code="overloaded", message=message, reply_to=work.reply_to, retry_after_s=retry_after_s)
