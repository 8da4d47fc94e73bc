"""A call that is repeated every few seconds, also after it failed, and after a reconnection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import nats.errors

from penstock.bus.connection import ConnectionEvents
from penstock.bus.log_limits import rate_limited_logger
from penstock.runtime.aio import CriticalLoop
from penstock.runtime.config.problems import ConfigurationRefused

__all__ = ["PeriodicLoop"]

_log: Final = rate_limited_logger(__name__, by="text")


class PeriodicLoop:
    """Awaits `action` every `every_s` seconds until stopped. What it raises is logged; the next call may succeed."""

    def __init__(self, name: str, every_s: float, action: Callable[[], Awaitable[object]]) -> None:
        self._name = name
        self._every_s = every_s
        self._action = action
        self._running = CriticalLoop(name)
        self._events: ConnectionEvents | None = None
        self._began = 0
        """Number of calls so far."""
        self._known = 0
        """Number of the latest call whose outcome is known: of two at once the outcome of the later one counts."""
        self.succeeded = True
        """False after a failed call, until the next one that succeeds."""

    def start(self, events: ConnectionEvents | None = None) -> None:
        """`events`: of the connection after whose reconnections `action` is called at once, too."""
        self._running.start(self._run())
        self._events = events
        if events is not None:
            events.add_reconnect_listener(self.run_once)

    async def stop(self) -> None:
        events, self._events = self._events, None
        if events is not None:
            events.remove_reconnect_listener(self.run_once)
        await self._running.stop()

    async def run_once(self) -> None:
        """Await `action` now."""
        self._began += 1
        number = self._began
        try:
            await self._action()
        except (nats.errors.Error, TimeoutError, ConfigurationRefused) as error:
            self._conclude(number, succeeded=False)
            _log.warning("%s failed, and is repeated in %g s: %r", self._name, self._every_s, error)
        except Exception:  # noqa: BLE001 - an unexpected error may be gone at the next call
            self._conclude(number, succeeded=False)
            _log.exception("%s failed, and is repeated in %g s", self._name, self._every_s)
        else:
            self._conclude(number, succeeded=True)

    def _conclude(self, number: int, *, succeeded: bool) -> None:
        if number > self._known:
            self._known = number
            self.succeeded = succeeded

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            await self.run_once()
