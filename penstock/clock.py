"""Time, injected."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct

__all__ = ["SYSTEM", "Clock", "loop_now_s"]


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
