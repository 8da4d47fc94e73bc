"""Reads each provider's list of models at the start and periodically (A5)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from penstock.bus.freezes import AwakeTimeout
from penstock.runtime.aio import CriticalLoop
from services.worker.models.roster import Roster, RosterChange
from services.worker.providers.provider import Provider

__all__ = ["RosterWatch"]

_log: Final = logging.getLogger(__name__)
_EVERY_S: Final = 600.0
_RETRY_S: Final = 30.0
"""Seconds until the next request after a failed one; doubles each time, because some providers have no list."""
_TIMEOUT_S: Final = 10.0


class RosterWatch:
    def __init__(
        self, providers: Mapping[str, Provider], roster: Roster, on_change: Callable[[RosterChange], None]
    ) -> None:
        """`on_change` is called for each model that is withdrawn or restored."""
        self._providers = providers
        self._roster = roster
        self._on_change = on_change
        self._running = CriticalLoop("models")

    async def start(self) -> None:
        """Request the lists once, then periodically. A silent provider delays the start by `_TIMEOUT_S`."""
        self._running.start(self._loop(await self._request_all()))

    async def stop(self) -> None:
        await self._running.stop()

    async def _loop(self, all_answered: bool) -> None:  # noqa: FBT001 - the result of the first requests
        retry_s = _RETRY_S
        while True:
            await asyncio.sleep(_EVERY_S if all_answered else retry_s)
            retry_s = _RETRY_S if all_answered else min(_EVERY_S, 2 * retry_s)
            all_answered = await self._request_all()

    async def _request_all(self) -> bool:
        answers = await asyncio.gather(*(self._request(name) for name in self._providers))
        return all(answers)

    async def _request(self, name: str) -> bool:
        """Returns whether the provider answered."""
        try:
            async with AwakeTimeout(_TIMEOUT_S):
                served = await self._providers[name].models()
        except TimeoutError:
            _log.warning("provider %s did not list its models within %g s", name, _TIMEOUT_S)
            return False
        now_s = asyncio.get_running_loop().time()
        for change in self._roster.observe_list(name, served, now_s):
            self._on_change(change)
        for model in self._roster.newly_unlisted(name, served):
            _log.warning("provider %s does not list %s; it is called anyway", name, model)
        return served is not None
