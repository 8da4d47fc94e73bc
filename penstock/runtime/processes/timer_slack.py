"""Timer slack: by how much the kernel may delay the timers of a process, so that it wakes up less often."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["inherited_timer_slack"]

_PR_SET_TIMERSLACK: Final = 29  # <linux/prctl.h>
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


@contextmanager
def inherited_timer_slack(slack_ns: int) -> Iterator[None]:
    """Processes that the calling thread starts meanwhile have this timer slack, in nanoseconds (prctl(2)); Linux's own
    is 50,000. Without an effect where the kernel has no such setting.
    """
    if _prctl is None:
        yield
        return
    _prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(slack_ns), 0, 0, 0)
    try:
        yield
    finally:
        _prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(0), 0, 0, 0)  # 0: the thread's default
