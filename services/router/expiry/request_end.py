"""Ends a request in place of the worker that should have: its terminal event, its job record, its hold."""

from __future__ import annotations

from penstock.bus.clock import Clock
from penstock.contract.reply import Failure
from penstock.contract.subjects import ReplyAddress
from penstock.runtime.jobs.completion import end_unless_ended
from penstock.runtime.service import Bus
from services.router.budget.releases import Releases

__all__ = ["RequestEnder"]


class RequestEnder:
    def __init__(self, bus: Bus, releases: Releases, clock: Clock) -> None:
        self._bus = bus
        self._releases = releases
        self._clock = clock

    async def end(self, address: ReplyAddress, failure: Failure, *, work_seq: int | None = None) -> bool:
        """End the request with `failure` unless it has ended, and release its hold; returns whether it has an end now.

        `work_seq`: the mailbox message that is given up; a job that runs under another message goes on, with its hold.
        """
        ended = await end_unless_ended(self._bus, address, failure, self._clock.unix_ms(), work_seq=work_seq)
        if ended:
            await self._releases.release(address, failure.code)
        return ended
