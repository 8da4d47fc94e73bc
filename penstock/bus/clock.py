"""Injectable clocks, and the time of the NATS server, by which processes of several machines agree."""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from msgspec import Struct

__all__ = ["STEP_S", "SYSTEM", "Clock", "ServerTime", "common_tick_s", "elapsed_ns", "loop_now_s"]

STEP_S: Final = 1.0
"""A difference of clocks above which a reading is logged: far more than NTP leaves."""
_DRIFT: Final = 2e-4
"""The most by which two clocks drift apart, in seconds per second; NTP rarely corrects more."""
_NS_PER_MS: Final = 1_000_000
_NS_PER_S: Final = 1_000_000_000
_STEPS_KEPT: Final = 16
_EARLY_S: Final = 0.01
"""By how much a timer may be early at most."""
_BOOT: Final = getattr(time, "CLOCK_BOOTTIME", None)


class Clock(Struct, frozen=True):
    """A monotonic clock for waiting and the Unix clock for deadlines."""

    monotonic_s: Callable[[], float]
    unix_s: Callable[[], float]
    without_steps_ms: Callable[[float], float] | None = None
    """As `steady_ms`, where steps of the Unix clock are known."""

    def unix_ms(self) -> int:
        return int(self.unix_s() * 1000)

    def steady_ms(self, since_ms: float) -> float:
        """The time, Unix milliseconds, as it would be without the steps of the clock since it showed `since_ms`; never
        before that. A deadline that was written then is compared with it.
        """
        if self.without_steps_ms is None:
            return max(since_ms, self.unix_s() * 1000)
        return self.without_steps_ms(since_ms)


SYSTEM: Final = Clock(time.monotonic, time.time)


class _Asked(threading.local):
    """The loop that ran when this thread asked last."""

    loop: asyncio.AbstractEventLoop | None = None


_asked: Final = _Asked()


def loop_now_s() -> float:
    """Seconds on the clock of the running loop, which its timeouts use; monotonic.

    Raises RuntimeError without a running loop.
    """
    loop = _asked.loop  # get_running_loop of Python 3.11 asks the kernel each time
    if loop is None or not loop.is_running():
        loop = _asked.loop = asyncio.get_running_loop()
    return loop.time()


def common_tick_s(every_s: float) -> float:
    """Seconds until the next multiple of `every_s` on the loop's clock: loops that sleep for them wake up this process
    at the same times. Those of other processes are others. At most 10 ms longer than `every_s`.
    """
    phase_s = os.getpid() % 1000 / 1000
    passed_s = loop_now_s() - phase_s
    # What is woken up early would otherwise sleep for the rest, and wake up twice.
    return (math.floor((passed_s + _EARLY_S) / every_s) + 1) * every_s - passed_s


elapsed_ns: Final[Callable[[], int]] = (
    time.monotonic_ns if _BOOT is None else partial(time.clock_gettime_ns, _BOOT)
)
"""Monotonic nanoseconds since an arbitrary start, including system sleep where the platform counts it."""


class _Step(Struct, frozen=True):
    """A step of the server's clock; times are those of this machine's elapsed time."""

    after_ns: int
    """It was made after this time, at which the clock was read last before it."""
    by_ns: int
    """It was made before this time, at which it was noticed."""
    ahead_ns: int
    """How far the server's clock had been ahead of the elapsed time."""


class ServerTime:
    """Unix time by readings of the server's clock and the time elapsed since, so that neither the wall clock of this
    machine nor a step of it counts. Before the first reading it is this machine's wall clock.

    A reading is exact to half of its round trip. The best one is kept until drift makes a newer one better. One that
    contradicts it shows a step of the server's clock, or another server, and is followed at once.
    """

    def __init__(
        self, now_ns: Callable[[], int] = elapsed_ns, wall_ns: Callable[[], int] = time.time_ns
    ) -> None:
        """`now_ns` measures elapsed time from any origin; `wall_ns` is the clock of this machine, Unix time."""
        self.now_ns = now_ns
        self._wall_ns = wall_ns
        self._ahead_ns: int | None = None
        self._error_ns = self._read_ns = self._observed_ns = 0
        self._steps: deque[_Step] = deque(maxlen=_STEPS_KEPT)
        self.clock = Clock(time.monotonic, self.unix_s, self.steady_ms)
        """For what takes a clock."""

    @property
    def known(self) -> bool:
        return self._ahead_ns is not None

    def observe(self, server_ns: int, asked_ns: int, answered_ns: int) -> float:
        """The server's clock showed `server_ns` at some time between the two of this machine's elapsed time.

        Returns the step of the server's clock against the last reading, in seconds; 0 when both agree.
        """
        ahead_ns = server_ns - (asked_ns + answered_ns) // 2
        error_ns = (answered_ns - asked_ns) // 2
        step_ns, seen_ns, self._observed_ns = 0, self._observed_ns, answered_ns
        if self._ahead_ns is not None:
            known_error_ns = self._error_ns + int((answered_ns - self._read_ns) * _DRIFT)
            if abs(ahead_ns - self._ahead_ns) > known_error_ns + error_ns:
                step_ns = ahead_ns - self._ahead_ns
                if abs(step_ns) > STEP_S * _NS_PER_S:
                    self._steps.append(_Step(seen_ns, answered_ns, self._ahead_ns))
            elif error_ns > known_error_ns:
                return 0.0
        self._ahead_ns, self._error_ns, self._read_ns = ahead_ns, error_ns, answered_ns
        return step_ns / _NS_PER_S

    def unix_ns(self) -> int:
        return self._wall_ns() if self._ahead_ns is None else self.now_ns() + self._ahead_ns

    def unix_s(self) -> float:
        return self.unix_ns() / _NS_PER_S

    def steady_ms(self, since_ms: float) -> float:
        """As `Clock.steady_ms`: what counts is the time elapsed since the server's clock showed `since_ms`, no step.

        A time that it showed twice, because it stepped back, counts as the later one. So does a time less than STEP_S
        ahead of it, which another process may have written just now: smaller steps are not known.
        """
        if self._ahead_ns is None:
            return max(since_ms, self.unix_ns() / _NS_PER_MS)
        now_ns, since_ns = self.now_ns(), int(since_ms * _NS_PER_MS)
        at_ns, latest_ns = since_ns - self._ahead_ns, now_ns + int(STEP_S * _NS_PER_S)
        for step in reversed(self._steps):
            if step.after_ns <= at_ns <= latest_ns:
                break
            at_ns, latest_ns = since_ns - step.ahead_ns, step.by_ns
        return since_ms + max(0, now_ns - min(at_ns, latest_ns)) / _NS_PER_MS

    def is_ambiguous(self, since_ms: float) -> bool:
        """Whether the age of `since_ms` may depend on a step that is not known yet: it is earlier than the last known
        step, or in the future. Either it is as old as it seems, or the clock has stepped again and it is new. A new
        reading decides. False before the first known step.
        """
        if self._ahead_ns is None or not self._steps:
            return False
        at_ns = int(since_ms * _NS_PER_MS) - self._ahead_ns
        return not self._steps[-1].after_ns <= at_ns <= self.now_ns() + int(STEP_S * _NS_PER_S)

    def stepped_within(self, seconds: float) -> bool:
        """Whether a step of the server's clock was noticed in the last `seconds`."""
        return bool(self._steps) and self.now_ns() - self._steps[-1].by_ns < seconds * _NS_PER_S

    def unix_ms(self) -> int:
        return self.unix_ns() // _NS_PER_MS

    @property
    def offset_s(self) -> float:
        """Seconds by which the wall clock of this machine is ahead of the server; 0 before the first reading."""
        return (self._wall_ns() - self.unix_ns()) / _NS_PER_S if self.known else 0.0
