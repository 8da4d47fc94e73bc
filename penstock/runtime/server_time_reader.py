"""Reads the clock of the NATS server while a service runs, and reports how far the clock of this machine is off."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Final

import nats.errors
from nats.aio.client import Client as Nats
from prometheus_client import CollectorRegistry, Gauge

from penstock.bus.clock import STEP_S, Clock, ServerTime, loop_now_s
from penstock.bus.connection import ConnectionEvents
from penstock.bus.direct_get import read_server_time
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.streams import REQUESTS
from penstock.runtime.periodic_loop import PeriodicLoop

__all__ = ["FreshTime", "ServerTimeReader", "offset_gauge", "wait_for_server_time"]

_log: Final = rate_limited_logger(__name__)
_EVERY_S: Final = 5.0
_RETRY_S: Final = 0.1
_WARN_EVERY_S: Final = 60.0


def offset_gauge(registry: CollectorRegistry) -> Gauge:
    return Gauge(
        "penstock_clock_offset_seconds",
        "Seconds by which the clock of this machine is ahead of the NATS server",
        registry=registry,
    )


class ServerTimeReader:
    """Reads the clock every few seconds, and at once after a reconnection: the server may be another one."""

    def __init__(self, nc: Nats, events: ConnectionEvents, server_time: ServerTime) -> None:
        self._nc = nc
        self._events = events
        self._time = server_time
        self._loop = PeriodicLoop("reading the server's clock", _EVERY_S, self._read)
        self._warn_s = 0.0

    async def start(self) -> None:
        """Read the clock, if the streams exist; the first service creates them after this."""
        try:
            await self._read()
        except (nats.errors.Error, TimeoutError) as error:
            _log.info("the clock of the server cannot be read yet: %r", error)
        self._loop.start(self._events)

    async def stop(self) -> None:
        await self._loop.stop()

    async def _read(self) -> None:
        _, step_s = await read_server_time(self._nc, self._time, REQUESTS.name)
        if abs(step_s) > STEP_S:
            _log.warning("the clock of the NATS server stepped by %.1f s, and is followed", step_s)
        self._warn()

    def _warn(self) -> None:
        offset_s, now_s = self._time.offset_s, self._time.clock.monotonic_s()
        if abs(offset_s) > STEP_S and now_s >= self._warn_s:
            self._warn_s = now_s + _WARN_EVERY_S
            _log.warning(
                "the clock of this machine is %.1f s %s the NATS server: requests are not affected, but log lines and "
                "traces have wrong times; synchronize it (NTP)",
                abs(offset_s),
                "ahead of" if offset_s > 0 else "behind",
            )


class FreshTime:
    """The time of the server, read again where a decision depends on it: its clock may have stepped a moment ago, and
    the reader above notices that within seconds only.
    """

    def __init__(self, nc: Nats, server_time: ServerTime) -> None:
        self._nc = nc
        self._time = server_time
        self._reading = asyncio.Lock()
        self._began_s = -inf

    @property
    def clock(self) -> Clock:
        return self._time.clock

    async def read(self, *, after_s: float | None = None) -> None:
        """Return after a reading that began during this call, which calls at the same time share, or after `after_s`,
        seconds on the loop's clock; where the server does not answer, with the time as known.
        """
        asked_s = loop_now_s() if after_s is None else after_s
        async with self._reading:
            if self._began_s < asked_s:
                self._began_s = loop_now_s()
                try:
                    await read_server_time(self._nc, self._time, REQUESTS.name)
                except (nats.errors.Error, TimeoutError) as error:
                    _log.warning("the clock of the server cannot be read: %r", error)

    async def read_if_passed(
        self, deadline_ms: float, *, since_ms: float, after_s: float | None = None
    ) -> None:
        """Read the clock again where a deadline seems to have passed that was written when it showed `since_ms`, or
        where it is not known when that was, unless it was read after `after_s` (`read`). A deadline that is not later
        than `since_ms` has passed whatever the clock shows.
        """
        if since_ms < deadline_ms and (
            self._time.is_ambiguous(since_ms) or deadline_ms <= self.clock.steady_ms(since_ms)
        ):
            await self.read(after_s=after_s)

    async def has_passed(self, deadline_ms: float, *, since_ms: float, after_s: float | None = None) -> bool:
        """Whether a deadline has passed that was written when the server's clock showed `since_ms`."""
        await self.read_if_passed(deadline_ms, since_ms=since_ms, after_s=after_s)
        return self.clock.steady_ms(since_ms) >= deadline_ms

    async def stepped_within(self, seconds: float) -> bool:
        """Whether the server's clock stepped in the last `seconds`."""
        await self.read()
        return self._time.stepped_within(seconds)


async def wait_for_server_time(nc: Nats, server_time: ServerTime) -> None:
    """Return when the clock of the server is known; called by a service that has provisioned the streams."""
    while not server_time.known:
        try:
            await read_server_time(nc, server_time, REQUESTS.name)
        except (nats.errors.Error, TimeoutError) as error:
            _log.warning("the clock of the server cannot be read yet: %r", error)
            await asyncio.sleep(_RETRY_S)
