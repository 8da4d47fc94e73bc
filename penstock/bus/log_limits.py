"""A rate limit for log lines that a burst or an outage repeats per request or per retry."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, Literal

from msgspec import Struct

__all__ = ["RepeatedLogs", "rate_limited_logger"]

_EVERY_S: Final = 10.0
"""Seconds between two lines of one kind."""
_MOST_KINDS: Final = 500
"""Kinds remembered per logger; the one passed longest ago is forgotten first."""

Kind = tuple[str, type[BaseException] | None]


class _Passed(Struct):
    at_s: float
    held_back: int = 0


class RepeatedLogs(logging.Filter):
    """Pass the first warning of a kind, then one every `every_s` seconds, with the count of those held back since.

    A kind is the message before its arguments are filled in (`by="text"`: after) and the type of the exception logged
    with it. Lines below WARNING always pass. The count of a burst's last seconds is told by the next line of the kind.
    """

    def __init__(
        self,
        every_s: float = _EVERY_S,
        *,
        by: Literal["message", "text"] = "message",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._every_s = every_s
        self._by = by
        self._clock = clock
        self._passed: dict[Kind, _Passed] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        text = str(record.msg) if self._by == "message" else record.getMessage()
        error = record.exc_info[0] if record.exc_info else None
        with self._lock:
            held_back = self._held_back(text, error)
        if held_back:
            record.msg = f"{record.msg} ({held_back:,} more like this were not logged)"
        return held_back is not None

    def forget(self) -> None:
        """Begin anew: the next line of every kind passes."""
        with self._lock:
            self._passed.clear()

    def _held_back(self, text: str, error: type[BaseException] | None) -> int | None:
        """How many of this kind were held back before this line; None: so is this one."""
        now_s = self._clock()
        kind = (text, error)
        last = self._passed.get(kind)
        if last is not None and now_s - last.at_s < self._every_s:
            last.held_back += 1
            return None
        self._passed.pop(kind, None)  # back in at the end: the order is that of passing
        if len(self._passed) >= _MOST_KINDS:
            del self._passed[next(iter(self._passed))]
        self._passed[kind] = _Passed(now_s)
        return 0 if last is None else last.held_back


def rate_limited_logger(name: str, *, by: Literal["message", "text"] = "message") -> logging.Logger:
    """The logger of a module whose warnings and errors may repeat for every request or every retry."""
    logger = logging.getLogger(name)
    logger.addFilter(RepeatedLogs(by=by))
    return logger
