"""An event loop whose clock jumps to the next timer whenever no callback is ready: an hour takes milliseconds."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

__all__ = ["VirtualLoop", "run"]

T = TypeVar("T")


_STEP_S: Final = 1e-6
"""Seconds added per round of the loop, so that rounding cannot prevent a timer from becoming due."""


class _Idle(selectors.SelectSelector):
    """Adds up the time that the loop would sleep, without sleeping."""

    slept_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.slept_s += (timeout or 0.0) + _STEP_S
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._idle = _Idle()
        super().__init__(self._idle)

    def time(self) -> float:
        return self._idle.slept_s

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002
        """Without a limit of virtual time, which Python has from 3.12 on: threads run in real time."""
        await super().shutdown_default_executor()

    def freeze(self, seconds: float) -> None:
        """Let the time pass as for a process that does not run: timers that become due fire together afterwards."""
        self._idle.slept_s += seconds


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end in virtual time, which begins at 0."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
