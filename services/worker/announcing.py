"""Facts for everybody: published in the background, waited for before the worker stops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final

import nats.errors
from nats.js import JetStreamContext
from nats.js.errors import APIError

from penstock.clock import Clock
from penstock.identifiers import new_id
from penstock.storing import StreamFull, store
from schemas import subjects
from schemas.codec import encode
from schemas.events import (
    BreakerChanged,
    CredentialAged,
    CredentialAvailabilityChanged,
    CredentialRotated,
    ModelAvailabilityChanged,
    QuotaPaused,
)

__all__ = ["Announcer"]

_log: Final = logging.getLogger(__name__)
_OfModel = BreakerChanged | QuotaPaused | ModelAvailabilityChanged
_OfCredential = CredentialAged | CredentialAvailabilityChanged | CredentialRotated
_KINDS: Final = {BreakerChanged: "breaker", QuotaPaused: "quota", ModelAvailabilityChanged: "model"}


class Announcer:
    """Stores events of this worker; one that cannot be stored is in the log."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    def bind(self, js: JetStreamContext) -> None:
        self._js = js

    def announce(self, event: _OfModel | _OfCredential) -> None:
        if isinstance(event, _OfCredential):
            subject = subjects.event("credential", event.credential)
        else:
            subject = subjects.event(_KINDS[type(event)], event.model)
        self._spawn(self._store(subject, encode(event)))

    async def drain(self) -> None:
        await asyncio.gather(*self._tasks)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _store(self, subject: str, payload: bytes) -> None:
        try:
            await store(self._js, subject, payload, message_id=new_id(), patience_s=30.0)
        except (APIError, StreamFull, TimeoutError, nats.errors.Error) as error:
            _log.error("an event could not be stored: %r %s", error, payload.decode())
