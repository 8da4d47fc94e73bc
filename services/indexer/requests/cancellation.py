"""Index requests that a cancel request can end (D8)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from msgspec import Struct

from penstock.contract.work import ChatWork
from penstock.runtime.cancellation import Cancellations
from penstock.runtime.service import Bus
from services.indexer.requests.outcome import GaveUp

__all__ = ["CancellableRequests"]


class _Running(Struct, eq=False):
    task: asyncio.Task[object]
    cancelled: bool = False


class CancellableRequests:
    """By account and request id; two clients of an account may use the same id."""

    def __init__(self, bus: Bus) -> None:
        self._connection_events = bus.connection_events
        self._cancellations = Cancellations(bus.nc, self._cancel)
        self._running: dict[tuple[str, str], list[_Running]] = {}

    async def start(self) -> None:
        await self._cancellations.start(self._connection_events)

    @contextmanager
    def entered(self, work: ChatWork) -> Iterator[None]:
        """Raises GaveUp when the request was cancelled in its mailbox, or is cancelled inside."""
        key = (work.account, work.id)
        running = _Running(cast("asyncio.Task[object]", asyncio.current_task()))
        self._running.setdefault(key, []).append(running)
        try:
            if self._cancellations.is_cancelled(*key):
                raise _cancelled()
            yield
        except asyncio.CancelledError as interruption:
            if not running.cancelled:
                raise  # this process stops
            running.task.uncancel()
            raise _cancelled() from interruption
        finally:
            self._running[key].remove(running)
            if not self._running[key]:
                del self._running[key]

    def is_cancelled(self, work: ChatWork) -> bool:
        return self._cancellations.is_cancelled(work.account, work.id)

    def _cancel(self, account: str, request_id: str) -> None:
        for running in self._running.get((account, request_id), ()):
            if not running.cancelled:
                running.cancelled = True
                running.task.cancel()


def _cancelled() -> GaveUp:
    return GaveUp("cancelled", "the request was cancelled; documents that were indexed by then stay")
