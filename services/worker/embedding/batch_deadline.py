"""Until when a batch is worked on, and how long its call may last, while requests join and leave its texts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from penstock.bus.clock import loop_now_s
from penstock.bus.freezes import extended_s
from services.worker.embedding.request import Text
from services.worker.execution.state import CallState
from services.worker.execution.time_limits import TimeLimits

__all__ = ["BatchDeadline", "CallLimit", "timeout_when"]

_PAID_S: Final = 10.0
"""Seconds for which a call outlasts the last deadline: it is paid, and requests that come meanwhile get its vectors."""


class BatchDeadline:
    """The latest deadline of all requests that wait for texts of the batch, those included that have joined since."""

    def __init__(self, state: CallState, part: Sequence[Text]) -> None:
        self._state = state
        self._part = part

    @property
    def is_wanted(self) -> bool:
        """Whether a request still waits for one of the texts."""
        return any(text.requests for text in self._part)

    def latest_s(self) -> float:
        """On the loop's clock; the state of the batch has it as its deadline from now on."""
        deadlines = (request.execution.deadline_s for text in self._part for request in text.requests)
        self._state.deadline_s = max(self._state.deadline_s, max(deadlines, default=0.0))
        return self._state.deadline_s

    def of_call_s(self) -> float:
        """When a call in flight is given up at the latest."""
        return self.latest_s() + _PAID_S


class CallLimit:
    """When one call counts as too slow: its limit is that of the deadline at its start, and of a later one once a
    request with more time has joined.
    """

    def __init__(
        self, deadline: BatchDeadline, state: CallState, time_limits: TimeLimits, model: str
    ) -> None:
        self._deadline = deadline
        self._state = state
        self._time_limits = time_limits
        self._model = model
        self._began_s = loop_now_s()
        self._deadline_s = deadline.latest_s()
        self._ends_s = self._began_s + self._limit_s()

    @property
    def length_s(self) -> float:
        """Seconds that the call may last, as far as is known."""
        return round(self._ends_s - self._began_s, 3)

    def ends_s(self) -> float:
        """On the loop's clock."""
        latest_s = self._deadline.latest_s()
        if latest_s > self._deadline_s:
            self._deadline_s = latest_s
            longest_s = self._began_s + self._state.role.timeouts.non_streaming_s
            self._ends_s = max(self._ends_s, min(longest_s, loop_now_s() + self._limit_s()))
        return self._ends_s

    def _limit_s(self) -> float:
        return self._time_limits.limits(self._state, self._model).non_streaming_s


@asynccontextmanager
async def timeout_when(ends_s: Callable[[], float]) -> AsyncIterator[None]:
    """Raises TimeoutError at `ends_s()` on the loop's clock, which is asked again when the time has come: it may be
    later by then, or this process was frozen meanwhile.
    """
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    check: asyncio.TimerHandle
    async with asyncio.timeout(None) as timer:

        def end_or_extend() -> None:
            nonlocal check
            at_s = extended_s(ends_s(), began_s)
            if at_s <= loop.time():
                timer.reschedule(at_s)
            else:
                check = loop.call_at(at_s, end_or_extend)

        check = loop.call_at(ends_s(), end_or_extend)
        try:
            yield
        finally:
            check.cancel()
