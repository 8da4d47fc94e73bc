"""Which of the delivered requests are worked on. Those that wait for their collection or a slot hold none."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from msgspec import Struct

from penstock.contract.names import Lane
from penstock.contract.retrieval.documents import MEMORY
from penstock.contract.streams import MAX_PAYLOAD_BYTES
from penstock.contract.work import ChatWork

__all__ = ["MOST_WAITING", "RequestScheduler", "ScheduledRequest", "Stopping"]

_WAITING_BYTES: Final = 256 * 1024 * 1024
MOST_WAITING: Final = _WAITING_BYTES // MAX_PAYLOAD_BYTES
"""Messages that wait in this process at once, however small they are."""


class Stopping(Exception):
    """This process stops, and begins no further request."""


class ScheduledRequest(Struct, eq=False):
    """One delivered request, from its arrival to its end."""

    work: ChatWork
    begins: asyncio.Future[None]
    """Done when a slot is free. Raises Stopping."""
    changes_collection: bool = True

    @property
    def collection(self) -> tuple[str, str, str]:
        """What only one request changes at a time. Each user of an account has a memory."""
        work = self.work
        return work.account, work.collection, work.user if work.collection == MEMORY else ""


class RequestScheduler:
    """`slots` requests at once, and a further place that is kept for others than those who hold the slots.

    The further place is for an account of which nothing runs, or for the interactive lane. So one account has at most
    `slots`, and the batch lane of one account one less. A request begins while no other one changes its collection;
    of those that may, one of the account of which the fewest run is the next, and accounts with as many take turns.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._waiting: list[ScheduledRequest] = []
        self._running: list[ScheduledRequest] = []
        self._begun = 0
        self._last_begun: dict[str, int] = {}
        """By account: the number of its last request that was begun."""
        self._stopping = False

    @property
    def running(self) -> int:
        return len(self._running)

    def waiting(self, lane: Lane) -> int:
        return sum(request.work.lane == lane for request in self._waiting)

    def usable_slots(self) -> int:
        """How many messages of a lane may be in this process, so that those that wait take a bounded memory."""
        waiting_bytes = sum(len(memoryview(request.work.body)) for request in self._waiting)
        return self._slots + max(0, _WAITING_BYTES - waiting_bytes) // MAX_PAYLOAD_BYTES

    @asynccontextmanager
    async def enter(self, work: ChatWork) -> AsyncIterator[ScheduledRequest]:
        """A request that waits, until `begins` is done, and is worked on, until it leaves the context."""
        request = ScheduledRequest(work, asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        if self._stopping:
            request.begins.set_exception(Stopping)
        self._begin_next()
        try:
            yield request
        finally:
            request.begins.cancel()
            (self._running if request in self._running else self._waiting).remove(request)
            self._forget_absent(work.account)
            self._begin_next()

    def leave_collection(self, request: ScheduledRequest) -> None:
        """Other requests may change the collection from here on."""
        request.changes_collection = False
        self._begin_next()

    def stop(self) -> None:
        """Those that wait are not begun any more."""
        self._stopping = True
        for request in self._waiting:
            if not request.begins.done():
                request.begins.set_exception(Stopping)

    def _begin_next(self) -> None:
        while (request := self._next()) is not None:
            self._waiting.remove(request)
            self._running.append(request)
            self._begun += 1
            self._last_begun[request.work.account] = self._begun
            request.begins.set_result(None)

    def _next(self) -> ScheduledRequest | None:
        held = Counter(request.work.account for request in self._running)
        changing = {request.collection for request in self._running if request.changes_collection}
        able = [
            request
            for request in self._waiting
            if not request.begins.done()
            and request.collection not in changing
            and self._has_room(request.work, held[request.work.account])
        ]

        def order(request: ScheduledRequest) -> tuple[int, int, bool]:
            account = request.work.account
            return held[account], self._last_begun.get(account, 0), request.work.lane == "batch"

        return min(able, key=order, default=None)

    def _has_room(self, work: ChatWork, own: int) -> bool:
        """`own`: how many of its account run."""
        is_batch = work.lane == "batch"
        places = self._slots if is_batch and own else self._slots + 1
        if len(self._running) >= places or own >= self._slots:
            return False
        batch = sum(request.work.lane == "batch" for request in self._running)
        return not is_batch or batch < (max(1, self._slots - 1) if own else self._slots)

    def _forget_absent(self, account: str) -> None:
        if all(request.work.account != account for request in (*self._waiting, *self._running)):
            self._last_begun.pop(account, None)
