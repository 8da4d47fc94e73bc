"""The jobs under way, found again when somebody cancels them (REQUIREMENTS D8)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from penstock.runtime.cancellation import Cancellations
from penstock.runtime.service import Bus
from services.worker.execution.state import GaveUp, Job

__all__ = ["Running"]


class Running:
    """By account and id; two clients of an account may use the same id."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._cancellations = Cancellations(self._cancel)
        self._jobs: dict[tuple[str, str], list[Job]] = {}

    async def start(self) -> None:
        await self._cancellations.start(self._bus.nc, self._bus.reconnects)

    @contextmanager
    def cancellable(self, job: Job) -> Iterator[None]:
        """Raises GaveUp when the request was cancelled in the queue, or is meanwhile."""
        key = (job.work.account, job.work.id)
        self._jobs.setdefault(key, []).append(job)
        try:
            if self._cancellations.is_cancelled(*key):
                raise _cancelled()
            yield
        except asyncio.CancelledError as interruption:
            if not job.cancelled:
                raise  # this worker stops
            job.task.uncancel()
            raise _cancelled() from interruption
        finally:
            self._jobs[key].remove(job)
            if not self._jobs[key]:
                del self._jobs[key]

    def _cancel(self, account: str, request_id: str) -> None:
        for job in self._jobs.get((account, request_id), ()):
            if not job.cancelled:
                job.cancelled = True
                job.task.cancel()


def _cancelled() -> GaveUp:
    return GaveUp("cancelled", "the request was cancelled")
