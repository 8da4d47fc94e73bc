"""Freezes: times in which this process or the NATS server did not run, and time limits that do not count them.

A stopped process (SIGSTOP, a virtual machine that is moved, swapping, a callback that blocks the loop) finds all its
timers due when it continues, before it has read what arrived meanwhile. Such a time limit says nothing about the other
side.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self
from weakref import WeakKeyDictionary

from msgspec import Struct
from nats.aio.client import Client as Nats

from penstock.bus.clock import loop_now_s
from penstock.bus.log_limits import rate_limited_logger

__all__ = [
    "AwakeTimeout",
    "Freezes",
    "extended_s",
    "follows_silence",
    "frozen_s",
    "note_received",
    "silent_s",
    "waiting_since_s",
    "watch_freezes",
]

_log: Final = rate_limited_logger(__name__, by="text")
_TICK_S: Final = 0.25
"""Seconds between two observations."""
_LEAST_S: Final = 1.0
"""Seconds by which an observation has to be late to count as a freeze."""
_GRACE_S: Final = 2.0
"""Seconds after a freeze within which what arrived during it is read."""
_KEPT: Final = 16
"""Number of freezes that are remembered."""


class _Freeze(Struct, frozen=True):
    began_s: float
    ended_s: float


class Freezes:
    """The latest freezes of one process, from observations of a monotonic clock that ought to be `_TICK_S` apart.

    A question is an observation too, because the timers of others may be due before the next tick.
    """

    def __init__(self, now_s: float) -> None:
        self._seen_s = now_s
        self._kept: deque[_Freeze] = deque(maxlen=_KEPT)
        self._reported_s = now_s

    def observe(self, now_s: float) -> None:
        if now_s - self._seen_s > _TICK_S + _LEAST_S:
            self._kept.append(_Freeze(self._seen_s, now_s))
        self._seen_s = max(self._seen_s, now_s)

    def frozen_s(self, since_s: float, now_s: float) -> float:
        """Seconds between `since_s` and now in which the process was frozen."""
        self.observe(now_s)
        if not self._kept:
            return 0.0
        return sum(each.ended_s - max(each.began_s, since_s) for each in self._kept if each.ended_s > since_s)

    def report(self) -> None:
        """Log the freezes since the last call."""
        for each in self._kept:
            if each.ended_s > self._reported_s:
                _log.warning("this process did not run for %.1f s", each.ended_s - each.began_s)
                self._reported_s = each.ended_s

    def extended_s(self, due_s: float, since_s: float, now_s: float) -> float:
        """When a time limit ends that began at `since_s` and would end at `due_s` without freezes. One that a freeze
        was part of ends `_GRACE_S` after it at the earliest.
        """
        lost_s = self.frozen_s(since_s, now_s)
        return max(due_s + lost_s, self._grace_ends_s) if lost_s > 0.0 else due_s

    def waiting_since_s(self, now_s: float) -> float:
        """The earliest time at which what is read now may have arrived: `now_s`, except soon after a freeze."""
        self.observe(now_s)
        return self._kept[-1].began_s if self._kept and now_s < self._grace_ends_s else now_s

    @property
    def _grace_ends_s(self) -> float:
        return self._kept[-1].ended_s + _GRACE_S if self._kept else 0.0


class _Watch(Struct, frozen=True):
    """The freezes of one loop, observed while something needs them."""

    freezes: Freezes
    needed: list[Callable[[], bool]]


_watched: Final[dict[asyncio.AbstractEventLoop, _Watch]] = {}


def watch_freezes(needed: Callable[[], bool]) -> None:
    """Observe the running loop from now on, until `needed` returns False."""
    loop = asyncio.get_running_loop()
    if loop in _watched:
        _watched[loop].needed.append(needed)
        return
    for closed in [each for each in _watched if each.is_closed()]:
        del _watched[closed]
    watch = _watched[loop] = _Watch(Freezes(loop.time()), [needed])

    def tick() -> None:
        watch.freezes.observe(loop.time())
        watch.freezes.report()
        watch.needed[:] = [each for each in watch.needed if each()]
        if watch.needed:
            loop.call_later(_TICK_S, tick)
        else:
            del _watched[loop]

    loop.call_later(_TICK_S, tick)


def frozen_s(since_s: float) -> float:
    """Seconds since `since_s`, on the loop's clock, in which this process was frozen; 0 where nothing observes it."""
    loop = asyncio.get_running_loop()
    watch = _watched.get(loop)
    return 0.0 if watch is None else watch.freezes.frozen_s(since_s, loop.time())


def extended_s(due_s: float, since_s: float) -> float:
    """As `Freezes.extended_s`, on the loop's clock; `due_s` where nothing observes it."""
    loop = asyncio.get_running_loop()
    watch = _watched.get(loop)
    return due_s if watch is None else watch.freezes.extended_s(due_s, since_s, loop.time())


def waiting_since_s() -> float:
    """As `Freezes.waiting_since_s`, on the loop's clock."""
    loop = asyncio.get_running_loop()
    watch = _watched.get(loop)
    return loop.time() if watch is None else watch.freezes.waiting_since_s(loop.time())


class AwakeTimeout:
    """As `asyncio.timeout`, but of a time in which this process was frozen nothing counts, and what arrived during it
    is read before the time is over.
    """

    def __init__(self, delay_s: float | None) -> None:
        self._delay_s = delay_s
        self._since_s = self._due_s = 0.0
        self._check: asyncio.TimerHandle | None = None
        self._timer = asyncio.Timeout(None)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await self._timer.__aenter__()
        if self._delay_s is not None:
            self._since_s = self._loop.time()
            self._due_s = self._since_s + self._delay_s
            self._check = self._loop.call_at(self._due_s, self._end_or_extend)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._check is not None:
            self._check.cancel()
        await self._timer.__aexit__(kind, error, traceback)

    def reschedule(self, due_s: float | None) -> None:
        """End at `due_s` on the loop's clock, without a freeze until then; None: never."""
        if self._check is not None:
            self._check.cancel()
            self._check = None
        if due_s is not None and not self._timer.expired():
            self._since_s, self._due_s = self._loop.time(), due_s
            self._check = self._loop.call_at(due_s, self._end_or_extend)

    def expired(self) -> bool:
        return self._timer.expired()

    def _end_or_extend(self) -> None:
        due_s = extended_s(self._due_s, self._since_s)
        now_s = self._loop.time()
        if due_s > max(self._due_s, now_s):
            self._check = self._loop.call_at(due_s, self._end_or_extend)
        else:
            self._check = None
            self._timer.reschedule(now_s)


_SILENCE_S: Final = 3.0
"""Seconds without any data that are a silence of the server: a router, worker or edge receives its own heartbeats every
2 s."""


class _Silence(Struct, frozen=True):
    ended_s: float
    lost_s: float
    """How long it was, without the time in which this process was frozen."""


class _Received:
    """When the server of one connection sent something."""

    def __init__(self) -> None:
        self._latest_s = loop_now_s()
        self.silences: deque[_Silence] = deque(maxlen=_KEPT)

    def note(self) -> None:
        """Note that the server sent something. A time in which this process was frozen is no silence of the server."""
        now_s = loop_now_s()
        if now_s - self._latest_s > _SILENCE_S and (silence := self.gap(now_s)) is not None:
            self.silences.append(silence)
        self._latest_s = now_s

    def gap(self, now_s: float) -> _Silence | None:
        """The silence that ends now, if it is one."""
        lost_s = now_s - self._latest_s
        if lost_s > _SILENCE_S:
            lost_s -= frozen_s(self._latest_s)
        return _Silence(now_s, lost_s) if lost_s > _SILENCE_S else None


_received: Final[WeakKeyDictionary[Nats, _Received]] = WeakKeyDictionary()


def note_received(nc: Nats) -> Callable[[], None]:
    """Note that the server has sent something on this connection. Returns a function that notes it again without
    looking up the connection.
    """
    received = _received.get(nc)
    if received is None:
        received = _received[nc] = _Received()
    received.note()
    return received.note


def follows_silence(nc: Nats, within_s: float) -> bool:
    """Whether a silence of the server ended in the last `within_s`."""
    received = _received.get(nc)
    if received is None or not received.silences:
        return False
    return loop_now_s() < received.silences[-1].ended_s + within_s


def silent_s(nc: Nats, since_s: float) -> float:
    """Seconds since `since_s`, on the loop's clock, in which the server was silent while this process ran."""
    received = _received.get(nc)
    if received is None:
        return 0.0
    now_s = loop_now_s()
    current = received.gap(now_s)
    silences = (*received.silences, *([] if current is None else [current]))
    return sum(min(each.lost_s, each.ended_s - since_s) for each in silences if each.ended_s > since_s)
