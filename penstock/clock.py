"""Time, injected."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct

__all__ = ["SYSTEM", "Clock"]


class Clock(Struct, frozen=True):
    """Two clocks: one that never steps, for waiting; one that others share, for deadlines."""

    monotonic_s: Callable[[], float]
    unix_s: Callable[[], float]

    def unix_ms(self) -> int:
        return int(self.unix_s() * 1000)


SYSTEM: Final = Clock(time.monotonic, time.time)
