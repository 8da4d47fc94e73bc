"""Restores streams, consumers and buckets that were deleted or changed while the services run."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import nats.errors
from nats.js import JetStreamContext

from penstock.runtime.aio import CriticalLoop
from penstock.runtime.config.problems import ConfigurationRefused
from penstock.runtime.provisioning.diff import find_drift
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure

__all__ = ["Reconciler"]

_log: Final = logging.getLogger(__name__)
_EVERY_S: Final = 5.0


class Reconciler:
    """Compares the server with the plan every few seconds, and provisions again when they differ."""

    def __init__(self, js: JetStreamContext, plan: JetStreamPlan) -> None:
        self._js = js
        self._plan = plan
        self._loop = CriticalLoop("reconciler")
        self.succeeded = True
        """The last comparison was answered, and everything was there or could be restored."""

    def start(self) -> None:
        self._loop.start(self._run())

    async def stop(self) -> None:
        await self._loop.stop()

    async def reconcile(self) -> None:
        """Compare and restore once. Raises nats errors when JetStream does not answer or refuses."""
        drift = await find_drift(self._js, self._plan)
        if drift:
            _log.warning("JetStream lacks or has changed %s; provisioning again", ", ".join(drift))
            await ensure(self._js, self._plan)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            try:
                await self.reconcile()
            except (nats.errors.Error, TimeoutError, ConfigurationRefused) as error:
                self.succeeded = False
                _log.warning("JetStream cannot be provisioned now: %r", error)
            except Exception:  # noqa: BLE001 - an unforeseen error may be gone at the next comparison
                self.succeeded = False
                _log.exception("provisioning failed")
            else:
                self.succeeded = True
