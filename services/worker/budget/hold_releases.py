"""Releases the holds of requests that end at a worker without an answer (F1)."""

from __future__ import annotations

from msgspec import Struct

from penstock.bus.clock import Clock
from penstock.contract import headers, subjects
from penstock.contract.subjects import ReplyAddress
from penstock.runtime.holds import release_hold
from penstock.runtime.service import Bus

__all__ = ["HoldReleases"]


class HoldReleases(Struct, frozen=True):
    """Stores releases. The hold of a request that was answered ends with the usage of its last attempt."""

    bus: Bus
    clock: Clock
    enabled: bool
    """False: the catalogue has no budgets, so that there are no holds."""

    async def release(self, address: ReplyAddress, why: str, traceparent: str | None = None) -> None:
        """Release the hold of a request that ended with the error code `why`, after all its usage is stored.

        Raises what `store` raises: then the message of the request is delivered again, and the release repeated.
        """
        if self.enabled:
            hold_id = subjects.hold_id(address)
            trace = None if traceparent is None else {headers.TRACEPARENT: traceparent}
            now_ms = self.clock.unix_ms()
            await release_hold(self.bus.js, hold_id, address.account, why, now_ms, trace=trace)
