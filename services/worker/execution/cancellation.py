"""Executions that a cancel request can end (D8)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from penstock.runtime.cancellation import Cancellations
from penstock.runtime.service import Bus
from services.worker.execution.state import Execution, GaveUp

__all__ = ["CancellableExecutions"]


class CancellableExecutions:
    """By account and request id; two clients of an account may use the same id."""

    def __init__(self, bus: Bus) -> None:
        self._connection_events = bus.connection_events
        self._cancellations = Cancellations(bus.nc, self._cancel)
        self._executions: dict[tuple[str, str], list[Execution]] = {}

    async def start(self) -> None:
        await self._cancellations.start(self._connection_events)

    @contextmanager
    def entered(self, execution: Execution) -> Iterator[None]:
        """Raises GaveUp when the request was cancelled in its mailbox, or is cancelled inside."""
        key = (execution.work.account, execution.work.id)
        self._executions.setdefault(key, []).append(execution)
        try:
            if self._cancellations.is_cancelled(*key):
                raise _cancelled()
            yield
        except asyncio.CancelledError as interruption:
            if not execution.cancelled:
                raise  # this worker stops
            execution.task.uncancel()
            raise _cancelled() from interruption
        finally:
            self._executions[key].remove(execution)
            if not self._executions[key]:
                del self._executions[key]

    def _cancel(self, account: str, request_id: str) -> None:
        for execution in self._executions.get((account, request_id), ()):
            if not execution.cancelled:
                execution.cancelled = True
                execution.task.cancel()


def _cancelled() -> GaveUp:
    return GaveUp("cancelled", "the request was cancelled")
