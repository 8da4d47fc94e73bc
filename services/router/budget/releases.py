"""Releases the holds of requests that end at the router."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

import nats.errors
from msgspec import Struct

from penstock.bus.clock import Clock
from penstock.bus.freezes import AwakeTimeout
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.publish import StreamFull
from penstock.contract import subjects
from penstock.contract.errors import ErrorCode
from penstock.contract.subjects import ReplyAddress
from penstock.runtime.holds import release_hold
from penstock.runtime.periodic_loop import PeriodicLoop
from penstock.runtime.service import Bus
from services.router.metrics import RouterMetrics

__all__ = ["NO_HOLDS", "HoldReleases", "Releases"]

_log: Final = rate_limited_logger(__name__)
_TRY_S: Final = 1.0
"""Seconds that a request may be delayed by its release; then it is stored in the background."""
_EVERY_S: Final = 1.0
_LAST_TRY_S: Final = 2.0
"""Seconds for the releases that are left when the router stops."""
_MOST: Final = 10_000
"""Releases that wait to be stored; further ones are given up."""
_LONGEST_S: Final = 600.0
"""Seconds after which a release is given up; most holds have expired by then."""
_NOT_STORED: Final = (nats.errors.Error, StreamFull, TimeoutError)


class Releases(Protocol):
    async def release(
        self, address: ReplyAddress, why: ErrorCode, trace: Mapping[str, str] | None = None
    ) -> None:
        """Release the hold of a request that has ended, if it has one. Raises nothing of NATS."""
        ...


class _NoHolds:
    """Without budgets there are no holds."""

    async def release(
        self, address: ReplyAddress, why: ErrorCode, trace: Mapping[str, str] | None = None
    ) -> None:
        """Nothing to release."""


NO_HOLDS: Final = _NoHolds()


class _Release(Struct, frozen=True):
    address: ReplyAddress
    why: ErrorCode
    trace: Mapping[str, str] | None
    ended_ms: int
    ended_s: float
    """The same time on the monotonic clock."""


class HoldReleases:
    """Stores releases, at once or repeatedly in the background. A hold that is never released expires."""

    def __init__(self, bus: Bus, metrics: RouterMetrics, clock: Clock, every_s: float = _EVERY_S) -> None:
        self._bus = bus
        self._metrics = metrics
        self._clock = clock
        self._left: dict[ReplyAddress, _Release] = {}
        self._loop = PeriodicLoop("the release of holds", every_s, self._store_left)

    def start(self) -> None:
        self._loop.start()

    async def stop(self) -> None:
        """Try once more to store what is left."""
        await self._loop.stop()
        try:
            async with AwakeTimeout(_LAST_TRY_S):
                await self._store_left()
        except _NOT_STORED as error:
            _log.warning("%d holds are not released, and expire: %r", len(self._left), error)
            self._metrics.lost_releases.inc(len(self._left))

    async def release(
        self, address: ReplyAddress, why: ErrorCode, trace: Mapping[str, str] | None = None
    ) -> None:
        """Release the hold of a request that has ended, if it has one. Raises nothing of NATS."""
        release = _Release(address, why, trace, self._clock.unix_ms(), self._clock.monotonic_s())
        try:
            await self._store(release)
        except _NOT_STORED as error:
            _log.warning("the release of a hold is not stored yet: %r", error)
            self._keep(release)

    def _keep(self, release: _Release) -> None:
        if len(self._left) >= _MOST:
            _log.error("more than %d holds cannot be released; further ones expire", _MOST)
            self._metrics.lost_releases.inc()
            return
        self._left[release.address] = release

    async def _store_left(self) -> None:
        """Store the kept releases, oldest first. Raises the first error."""
        for address, release in tuple(self._left.items()):
            if self._clock.monotonic_s() - release.ended_s <= _LONGEST_S:
                await self._store(release)
            else:
                self._metrics.lost_releases.inc()
            del self._left[address]

    async def _store(self, release: _Release) -> None:
        address = release.address
        hold_id = subjects.hold_id(address)
        async with AwakeTimeout(_TRY_S):
            await release_hold(
                self._bus.js,
                hold_id,
                address.account,
                release.why,
                release.ended_ms,
                trace=release.trace,
            )
