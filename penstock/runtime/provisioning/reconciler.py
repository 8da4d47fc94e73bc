"""Keeping the server at what the contract says, also after somebody deleted or changed a part of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import nats.errors
from nats.js import JetStreamContext

from penstock.bus.log_limits import rate_limited_logger
from penstock.runtime.aio import CriticalLoop
from penstock.runtime.provisioning.diff import find_drift
from penstock.runtime.provisioning.ensure import ensure

__all__ = ["Reconciler"]

_log: Final = rate_limited_logger(__name__)
_EVERY_S: Final = 5.0


class Reconciler:
    """Looks every few seconds, and provisions when something is missing or changed."""

    def __init__(
        self, js: JetStreamContext, *, roles: Iterable[str], ack_wait_s: float, replicas: int = 1
    ) -> None:
        self._js = js
        self._roles = tuple(roles)
        self._ack_wait_s = ack_wait_s
        self._replicas = replicas
        self._running = CriticalLoop("upkeep")
        self.succeeded = True
        """JetStream answered the last time, and everything was there or could be brought back."""

    def start(self) -> None:
        self._running.start(self._loop())

    async def stop(self) -> None:
        await self._running.stop()

    async def look(self) -> None:
        """Once. Raises nats errors when JetStream does not answer, or refuses."""
        wrong = await find_drift(self._js, roles=self._roles, ack_wait_s=self._ack_wait_s)
        if wrong:
            _log.warning("JetStream lacks %s, or has it otherwise; provisioning again", ", ".join(wrong))
            await ensure(self._js, roles=self._roles, ack_wait_s=self._ack_wait_s, replicas=self._replicas)

    async def _loop(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            try:
                await self.look()
            except (nats.errors.Error, TimeoutError) as error:
                self.succeeded = False
                _log.warning("JetStream cannot be provisioned now: %r", error)
            except Exception:  # noqa: BLE001 - whatever it was, the next look may find it gone
                self.succeeded = False
                _log.exception("provisioning failed")
            else:
                self.succeeded = True
