"""Ends a request in place of the worker that should have: its terminal event, its job record, its usage, its hold."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.bus.clock import Clock
from penstock.bus.stored_replies import acknowledged_replies
from penstock.contract.reply import Failure
from penstock.contract.subjects import ReplyAddress
from penstock.contract.work import ChatWork
from penstock.runtime.jobs.completion import end_unless_ended
from penstock.runtime.jobs.store import JobStore
from penstock.runtime.service import Bus
from services.router.budget.releases import Releases
from services.router.expiry.lost_usage import LostUsage

__all__ = ["RequestEnder"]


class RequestEnder:
    def __init__(self, bus: Bus, releases: Releases, lost_usage: LostUsage, clock: Clock) -> None:
        self._bus = bus
        self._releases = releases
        self._lost_usage = lost_usage
        self._clock = clock

    async def end(
        self,
        address: ReplyAddress,
        failure: Failure,
        *,
        work_seq: int | None = None,
        work: ChatWork | None = None,
        trace: Mapping[str, str] | None = None,
    ) -> bool:
        """End the request with `failure` unless it has ended, and release its hold; returns whether it has an end now.

        `work_seq`: the mailbox message that is given up; a job that runs under another message goes on, with its hold.
        `work`: its content, from which attempts of lost workers are recorded.
        """
        events = await acknowledged_replies(self._bus.nc, address.subject)
        now_ms = self._clock.unix_ms()
        ended = await end_unless_ended(self._bus, address, failure, now_ms, work_seq=work_seq, events=events)
        if not ended:
            return False
        if work is not None and any(event.attempt for event in events):
            record = await JobStore(self._bus.js).read(address) if work.lane == "batch" else None
            self._lost_usage.note(work, events, record, trace)
        await self._releases.release(address, failure.code, trace)
        return True
