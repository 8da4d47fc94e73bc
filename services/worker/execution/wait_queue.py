"""Requests in hand that wait for quota, a breaker or a backoff: woken when something was given back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from math import ceil
from typing import Final

from msgspec import Struct

from penstock.contract.names import Lane, Role

__all__ = ["Waiting"]

_TICK_S: Final = 0.005
"""Whoever waits for nearly the same moment is woken together: else the last to come could be the first to look."""


class _Waiter(Struct, frozen=True):
    turn: int
    woken: asyncio.Future[None]


class Waiting:
    """Who waits, by role and lane. Whoever was in hand first looks first, lest some are passed over until they end."""

    def __init__(self) -> None:
        self._waiters: dict[int, _Waiter] = {}
        self._numbers = 0
        self._boxes: Counter[tuple[Role, Lane]] = Counter()
        self._listeners: list[Callable[[], None]] = []
        self._told: list[Callable[[], None]] = []

    def on_wait(self, listener: Callable[[], None]) -> None:
        """Called whenever a request begins to wait."""
        self._told.append(listener)

    def on_wake(self, listener: Callable[[], None]) -> None:
        """Called when something was given back, and when somebody waits no longer."""
        self._listeners.append(listener)

    def number(self, role: Role, lane: Lane) -> int:
        """How many wait; they hold slots, and the mailbox pulls nothing more when they hold too many."""
        return self._boxes[role, lane]

    def wake(self) -> None:
        """Quota or a slot was given back: whoever waits looks again."""
        self._wake_waiters()
        for listener in self._listeners:
            listener()

    async def until(self, role: Role, lane: Lane, until_s: float, turn: int) -> None:
        """Wait until `until_s` on the loop's clock, or until something was given back.

        `turn`: requests that came into this worker's hands earlier have a lower one.
        """
        loop = asyncio.get_running_loop()
        self._numbers += 1
        number = self._numbers
        waiter = _Waiter(turn, loop.create_future())
        self._waiters[number] = waiter
        self._boxes[role, lane] += 1
        timer = loop.call_at(ceil(until_s / _TICK_S) * _TICK_S, self._wake_waiters)
        for listener in self._told:
            listener()
        try:
            await waiter.woken
        finally:
            timer.cancel()
            del self._waiters[number]
            self._boxes[role, lane] -= 1
            for listener in self._listeners:
                listener()

    def _wake_waiters(self) -> None:
        for waiter in sorted(self._waiters.values(), key=lambda waiter: waiter.turn):
            if not waiter.woken.done():
                waiter.woken.set_result(None)
