"""Facts for everybody: published in the background, waited for before the worker stops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final

import nats.errors
from nats.js import JetStreamContext
from nats.js.errors import APIError

from penstock.bus.ids import new_id
from penstock.bus.publish import StreamFull, store
from penstock.contract import subjects
from penstock.contract.codec import encode
from penstock.contract.events import (
    BreakerChanged,
    CredentialAged,
    CredentialAvailabilityChanged,
    CredentialRotated,
    ModelAvailabilityChanged,
    QuotaEased,
    QuotaPaused,
    QuotaWarned,
)
from penstock.runtime.aio import cancel_and_wait
from services.worker.quota_monitor.notices import store_crossing

__all__ = ["Announcer"]

_log: Final = logging.getLogger(__name__)
_KINDS: Final = {
    BreakerChanged: "breaker",
    QuotaPaused: "quota",
    QuotaWarned: "quota",
    QuotaEased: "quota",
    ModelAvailabilityChanged: "model",
}
_PATIENCE_S: Final = 30.0
_OfModel = BreakerChanged | QuotaPaused | QuotaWarned | QuotaEased | ModelAvailabilityChanged
_OfCredential = CredentialAged | CredentialAvailabilityChanged | CredentialRotated


class Announcer:
    """Stores events of this worker; one that cannot be stored is in the log."""

    def __init__(self, js: JetStreamContext) -> None:
        self._js = js
        self._tasks: set[asyncio.Task[None]] = set()

    def announce(self, event: _OfModel | _OfCredential) -> None:
        if isinstance(event, _OfCredential):
            subject = subjects.event("credential", event.credential)
        else:
            subject = subjects.event(_KINDS[type(event)], event.model)
        store_it = store(self._js, subject, encode(event), message_id=new_id(), patience_s=_PATIENCE_S)
        self._spawn(self._told(event, store_it))

    def announce_crossing(self, subject: str, event: QuotaWarned | QuotaEased) -> None:
        """Of a limit that others watch, too: whoever sees it first tells it."""
        store_it = store_crossing(self._js, subject, event, patience_s=_PATIENCE_S)
        self._spawn(self._told(event, store_it))

    async def drain(self, within_s: float) -> None:
        """Wait for what is being stored; what JetStream does not take in time is lost, and in the log."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=within_s)
        await cancel_and_wait(*late)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _told(self, event: _OfModel | _OfCredential, stored: Coroutine[Any, Any, bool]) -> None:
        try:
            await stored
        except asyncio.CancelledError:
            _log.error("an event was not stored before the worker stopped: %s", encode(event).decode())
            raise
        except (APIError, StreamFull, TimeoutError, nats.errors.Error) as error:
            _log.error("an event could not be stored: %r %s", error, encode(event).decode())
