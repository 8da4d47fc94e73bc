"""Asking each provider which models it serves: at the start, and from time to time (REQUIREMENTS A5)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from penstock.runtime.aio import CriticalLoop
from services.worker.models.roster import Roster, RosterChange
from services.worker.providers.protocol import Provider

__all__ = ["RosterWatch"]

_log: Final = logging.getLogger(__name__)
_EVERY_S: Final = 600.0
_AGAIN_S: Final = 30.0
"""After a provider could not be asked; doubled each time, as some have no list at all."""
_PATIENCE_S: Final = 10.0


class RosterWatch:
    def __init__(
        self, providers: Mapping[str, Provider], roster: Roster, on_change: Callable[[RosterChange], None]
    ) -> None:
        """`on_change` is called for each model that was withdrawn or is served again."""
        self._providers = providers
        self._roster = roster
        self._on_change = on_change
        self._running = CriticalLoop("models")

    async def start(self) -> None:
        """Ask once, then keep asking. A provider that does not answer delays the start by `_PATIENCE_S` at most."""
        self._running.start(self._loop(await self._ask_all()))

    async def stop(self) -> None:
        await self._running.stop()

    async def _loop(self, all_answered: bool) -> None:  # noqa: FBT001 - what the first round came to
        again_s = _AGAIN_S
        while True:
            await asyncio.sleep(_EVERY_S if all_answered else again_s)
            again_s = _AGAIN_S if all_answered else min(_EVERY_S, 2 * again_s)
            all_answered = await self._ask_all()

    async def _ask_all(self) -> bool:
        answers = await asyncio.gather(*(self._ask(name) for name in self._providers))
        return all(answers)

    async def _ask(self, name: str) -> bool:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                served = await self._providers[name].models()
        except TimeoutError:
            _log.warning("provider %s did not list its models within %g s", name, _PATIENCE_S)
            return False
        now_s = asyncio.get_running_loop().time()
        for change in self._roster.listed(name, served, now_s):
            self._on_change(change)
        for model in self._roster.newly_unlisted(name, served):
            _log.warning("provider %s does not list %s; it is called all the same", name, model)
        return served is not None
