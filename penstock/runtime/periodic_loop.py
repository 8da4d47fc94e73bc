"""A call that is repeated every few seconds, also after it failed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import nats.errors

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
        self.succeeded = True
        """False after a failed call, until the next one that succeeds."""

    def start(self) -> None:
        self._running.start(self._run())

    async def stop(self) -> None:
        await self._running.stop()

    async def run_once(self) -> None:
        """Await `action` now."""
        try:
            await self._action()
        except (nats.errors.Error, TimeoutError, ConfigurationRefused) as error:
            self.succeeded = False
            _log.warning("%s failed, and is repeated in %g s: %r", self._name, self._every_s, error)
        except Exception:  # noqa: BLE001 - an unexpected error may be gone at the next call
            self.succeeded = False
            _log.exception("%s failed, and is repeated in %g s", self._name, self._every_s)
        else:
            self.succeeded = True

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            await self.run_once()
