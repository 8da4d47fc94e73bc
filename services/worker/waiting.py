"""Requests in hand that wait for quota, a breaker or a backoff: woken when something was given back."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable

__all__ = ["Waiting"]


class Waiting:
    """Who waits, by role."""

    def __init__(self) -> None:
        self._freed = asyncio.Event()
        self._roles: Counter[str] = Counter()
        self._listeners: list[Callable[[], None]] = []
        self._told: list[Callable[[], None]] = []

    def on_wait(self, listener: Callable[[], None]) -> None:
        """Called whenever a request begins to wait."""
        self._told.append(listener)

    def on_wake(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    def number(self, role: str) -> int:
        """How many wait; they hold slots, and the mailbox pulls nothing more when they hold too many."""
        return self._roles[role]

    def wake(self) -> None:
        """Quota or a slot was given back: whoever waits looks again."""
        self._freed.set()
        self._freed = asyncio.Event()
        for listener in self._listeners:
            listener()

    async def until(self, role: str, until_s: float) -> None:
        """Wait until `until_s` on the loop's clock, or until something was given back."""
        self._roles[role] += 1
        for listener in self._told:
            listener()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until_s):
                    await self._freed.wait()
        finally:
            self._roles[role] -= 1
