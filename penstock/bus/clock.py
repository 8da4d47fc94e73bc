"""Time, injected."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct

__all__ = ["SYSTEM", "Clock", "elapsed_ns", "loop_now_s"]

_BOOT: Final = getattr(time, "CLOCK_BOOTTIME", None)


class Clock(Struct, frozen=True):
    """Two clocks: one that never steps, for waiting; one that others share, for deadlines."""

    monotonic_s: Callable[[], float]
    unix_s: Callable[[], float]

    def unix_ms(self) -> int:
        return int(self.unix_s() * 1000)


SYSTEM: Final = Clock(time.monotonic, time.time)


def loop_now_s() -> float:
    """Seconds on the running loop's clock, the one that its timeouts go by; monotonic."""
    return asyncio.get_running_loop().time()


def elapsed_ns() -> int:
    """Nanoseconds since whenever, never stepping, and, where the system can say, with the time it slept."""
    return time.monotonic_ns() if _BOOT is None else time.clock_gettime_ns(_BOOT)
