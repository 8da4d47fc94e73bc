"""A line in the log for every request that ends with an error before anything of its answer was sent."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

__all__ = ["LinesPerSecond", "log_rejection"]

_MOST: Final = 50


class LinesPerSecond(logging.Filter):
    """Passes so many lines in each second; the first line of a later second has the number that was suppressed."""

    def __init__(self, most: int = _MOST, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._most = most
        self._clock = clock
        self._second = 0
        self._passed = 0
        self._suppressed = 0

    def filter(self, record: logging.LogRecord) -> bool:
        second = int(self._clock())
        if second != self._second:
            self._second, self._passed = second, 0
        if self._passed >= self._most:
            self._suppressed += 1
            return False
        self._passed += 1
        if self._suppressed:
            record.msg = f"{record.msg} ({self._suppressed:,} more not logged)"
            self._suppressed = 0
        return True


_log: Final = logging.getLogger(__name__)
_log.addFilter(LinesPerSecond())


def log_rejection(
    method: str, route: str, status: int, code: str, *, request_id: str, sender: str = ""
) -> None:
    """`request_id`: that of the response. `sender`: the account, or the prefix of the key, as far as it is known.

    The message of an error is left out, because it may quote the request.
    """
    by = f" from {sender}" if sender else ""
    _log.info("%s %s: %d %s (request %s%s)", method, route, status, code, request_id, by)
