"""Records the attempts of lost workers whose requests end in their mailbox: no other worker will (F2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import nats.errors
from msgspec import Struct

from penstock.bus.clock import Clock
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.publish import StreamFull, store
from penstock.contract import codec, subjects
from penstock.contract.events import UsageRecorded
from penstock.contract.jobs import Job
from penstock.contract.reply import ReplyEvent
from penstock.contract.work import ChatWork
from penstock.runtime.accounting.prior_attempts import fold_events, lost_attempts, with_record
from penstock.runtime.accounting.usage_events import UsageEvents, usage_message_id
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.periodic_loop import PeriodicLoop
from penstock.runtime.service import Bus

__all__ = ["LostUsage"]

_log: Final = rate_limited_logger(__name__)
_AFTER_S: Final = 5.0
"""Seconds after the end of the request in which a worker that is not lost stores the usage of its own attempt. The two
events have the same message id, and the first is stored."""
_EVERY_S: Final = 1.0
_STORE_S: Final = 3.0
_MOST: Final = 10_000
"""Events that wait to be stored; further ones are logged only."""
_NOT_STORED: Final = (nats.errors.Error, StreamFull, TimeoutError)
_ROUTER: Final = "router"


class _Waiting(Struct, frozen=True):
    event: UsageRecorded
    trace: Mapping[str, str] | None
    due_s: float


class LostUsage:
    """Stores the events in the background. Those of a router that is killed within the first seconds are lost."""

    def __init__(
        self, bus: Bus, catalogue: Catalogue, events: UsageEvents, clock: Clock, after_s: float = _AFTER_S
    ) -> None:
        self._bus = bus
        self._catalogue = catalogue
        self._events = events
        self._clock = clock
        self._after_s = after_s
        self._waiting: dict[str, _Waiting] = {}
        """By message id, the oldest first."""
        self._loop = PeriodicLoop("the usage of lost attempts", _EVERY_S, self._store_due)

    def start(self) -> None:
        self._loop.start()

    async def stop(self) -> None:
        """Store what waits."""
        await self._loop.stop()
        try:
            await self._store_until(float("inf"))
        except _NOT_STORED as error:
            _log.error("the usage of %d lost attempts is not recorded: %r", len(self._waiting), error)

    def note(
        self,
        work: ChatWork,
        replies: Iterable[ReplyEvent],
        record: Job | None,
        trace: Mapping[str, str] | None,
    ) -> None:
        """The request ended here. `replies`: its stored reply events before that end; `record`: that of a job."""
        prior = fold_events(replies)
        if record is not None:
            prior = with_record(prior, record)
        if prior.ended or work.role not in self._catalogue.all_roles:
            return  # the worker that ended it has stored all usage before
        for lost in lost_attempts(work, prior, self._catalogue.models):
            event = self._events.of(work, lost, at_ms=self._clock.unix_ms(), worker=_ROUTER)
            if len(self._waiting) >= _MOST:
                _log.error("too many lost attempts; one is not recorded: %s", codec.encode(event).decode())
                continue
            due_s = self._clock.monotonic_s() + self._after_s
            self._waiting[usage_message_id(event)] = _Waiting(event, trace, due_s)

    async def _store_due(self) -> None:
        await self._store_until(self._clock.monotonic_s())

    async def _store_until(self, now_s: float) -> None:
        """Raises the first error."""
        for message_id, waiting in tuple(self._waiting.items()):
            if waiting.due_s > now_s:
                return
            await store(
                self._bus.js,
                subjects.usage(waiting.event.account),
                codec.encode(waiting.event),
                message_id=message_id,
                headers=waiting.trace,
                timeout_s=_STORE_S,
            )
            del self._waiting[message_id]
