"""Time limits of detectors that count what a detector does, not how long it waits behind others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Final, Self

from penstock.bus.clock import loop_now_s
from penstock.bus.freezes import AwakeTimeout

__all__ = ["WorkTimeout", "current_timeout", "waits"]


class WorkTimeout:
    """As `AwakeTimeout`, without the time between `pause` and `resume`; inside it is `current_timeout`."""

    def __init__(self, limit_s: float | None) -> None:
        self._left_s = limit_s
        self._since_s = 0.0
        self._paused = False
        self._timer = AwakeTimeout(limit_s)
        self._token: Token[WorkTimeout | None] | None = None

    async def __aenter__(self) -> Self:
        await self._timer.__aenter__()
        self._since_s = loop_now_s()
        self._token = _current.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._token is not None:
            _current.reset(self._token)
        await self._timer.__aexit__(kind, error, traceback)

    def pause(self) -> None:
        if self._left_s is not None and not self._paused:
            self._paused = True
            self._left_s = max(0.0, self._left_s - (loop_now_s() - self._since_s))
            self._timer.reschedule(None)

    def resume(self) -> None:
        if self._left_s is not None and self._paused:
            self._paused = False
            self._since_s = loop_now_s()
            self._timer.reschedule(self._since_s + self._left_s)

    def give_back(self, seconds: float) -> None:
        """Do not count so many seconds since `resume`, or since the start."""
        if self._left_s is not None and not self._paused:
            self._left_s += seconds
            self._timer.reschedule(self._since_s + self._left_s)


_current: Final[ContextVar[WorkTimeout | None]] = ContextVar("work_timeout", default=None)


def current_timeout() -> WorkTimeout | None:
    """That of the detector that runs; None outside of any."""
    return _current.get()


@contextmanager
def waits() -> Iterator[None]:
    """What is awaited inside is a wait behind others."""
    timeout = _current.get()
    if timeout is None:
        yield
        return
    timeout.pause()
    try:
        yield
    finally:
        timeout.resume()
