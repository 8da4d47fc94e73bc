"""Injectable clocks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct

__all__ = ["SYSTEM", "Clock", "elapsed_ns", "loop_now_s"]

_BOOT: Final = getattr(time, "CLOCK_BOOTTIME", None)


class Clock(Struct, frozen=True):
    """A monotonic clock for waiting and the Unix clock for deadlines."""

    monotonic_s: Callable[[], float]
    unix_s: Callable[[], float]

    def unix_ms(self) -> int:
        return int(self.unix_s() * 1000)


SYSTEM: Final = Clock(time.monotonic, time.time)


def loop_now_s() -> float:
    """Seconds on the clock of the running loop, which its timeouts use; monotonic."""
    return asyncio.get_running_loop().time()


def elapsed_ns() -> int:
    """Monotonic nanoseconds since an arbitrary start, including system sleep where the platform counts it."""
    return time.monotonic_ns() if _BOOT is None else time.clock_gettime_ns(_BOOT)
