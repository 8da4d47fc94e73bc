"""Limit the rate of log lines that a burst or an outage repeats for each request or retry."""

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
_MAX_KINDS: Final = 500
"""Kinds stored per logger; the one logged longest ago is dropped first."""

Kind = tuple[str, type[BaseException] | None]


class _LastLine(Struct):
    at_s: float
    suppressed: int = 0


class RepeatedLogs(logging.Filter):
    """Pass the first warning of a kind, then one every `every_s` seconds with the number suppressed since.

    A kind is the message before its arguments are filled in (`by="text"`: after) and the type of the exception logged
    with it. Lines below WARNING always pass. The next line of the kind has the count of the last seconds of a burst.
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
        self._last: dict[Kind, _LastLine] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        text = str(record.msg) if self._by == "message" else record.getMessage()
        error = record.exc_info[0] if record.exc_info else None
        with self._lock:
            suppressed = self._suppressed(text, error)
        if suppressed:
            record.msg = f"{record.msg} ({suppressed:,} more not logged)"
        return suppressed is not None

    def _suppressed(self, text: str, error: type[BaseException] | None) -> int | None:
        """Number of suppressed lines of this kind before this one; None: suppress this one too."""
        now_s = self._clock()
        kind = (text, error)
        last = self._last.get(kind)
        if last is not None and now_s - last.at_s < self._every_s:
            last.suppressed += 1
            return None
        self._last.pop(kind, None)  # inserted at the end: the order is that of the last line
        if len(self._last) >= _MAX_KINDS:
            del self._last[next(iter(self._last))]
        self._last[kind] = _LastLine(now_s)
        return 0 if last is None else last.suppressed


def rate_limited_logger(name: str, *, by: Literal["message", "text"] = "message") -> logging.Logger:
    """The logger of a module whose warnings and errors may repeat for every request or every retry."""
    logger = logging.getLogger(name)
    logger.addFilter(RepeatedLogs(by=by))
    return logger
