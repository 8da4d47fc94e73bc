"""Requests of this worker that wait for quota, a breaker or a backoff, and are woken when something is freed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from math import ceil
from typing import Final

from msgspec import Struct

from penstock.contract.names import Lane, Role

__all__ = ["WaitQueue"]

_TICK_S: Final = 0.005
"""Seconds to which wake-up times are rounded: requests that wait for nearly the same moment wake together, in their
order of arrival."""


class _Waiter(Struct, frozen=True):
    arrival: int
    woken: asyncio.Future[None]


class WaitQueue:
    """The waiting requests, by role and lane. They wake in the order of their arrival at this worker."""

    def __init__(self, on_wait: Callable[[], None], on_wake: Callable[[], None]) -> None:
        """`on_wait`: called whenever a request begins to wait; `on_wake`: when quota or a slot is freed, and when a
        request stops waiting.
        """
        self._on_wait = on_wait
        self._on_wake = on_wake
        self._waiters: dict[int, _Waiter] = {}
        self._last_id = 0
        self._numbers: Counter[tuple[Role, Lane]] = Counter()

    def count(self, role: Role, lane: Lane) -> int:
        """How many requests wait; each holds a slot of the mailbox."""
        return self._numbers[role, lane]

    def wake(self) -> None:
        """Quota or a slot was freed: every waiting request tries again."""
        if self._waiters:
            self._wake_waiters()
        self._on_wake()

    async def wait_until(self, role: Role, lane: Lane, until_s: float, arrival: int) -> None:
        """Wait until `until_s` on the loop's clock, or until something was freed.

        `arrival`: lower for requests that arrived at this worker earlier.
        """
        loop = asyncio.get_running_loop()
        self._last_id += 1
        waiter_id = self._last_id
        waiter = _Waiter(arrival, loop.create_future())
        self._waiters[waiter_id] = waiter
        self._numbers[role, lane] += 1
        timer = loop.call_at(ceil(until_s / _TICK_S) * _TICK_S, self._wake_waiters)
        self._on_wait()
        try:
            await waiter.woken
        finally:
            timer.cancel()
            del self._waiters[waiter_id]
            self._numbers[role, lane] -= 1
            self._on_wake()

    def _wake_waiters(self) -> None:
        for waiter in sorted(self._waiters.values(), key=lambda waiter: waiter.arrival):
            if not waiter.woken.done():
                waiter.woken.set_result(None)
