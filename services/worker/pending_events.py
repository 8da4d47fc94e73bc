"""Events that are stored in the background; one that is not stored is logged with its content.

Usage is then kept and stored again (`accounting/kept_usage.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from functools import partial
from typing import Any, Final

from nats.js import JetStreamContext

from penstock.contract.codec import encode
from penstock.contract.events import Event
from penstock.runtime.aio import cancel_and_wait

__all__ = ["PendingEvents"]

_log: Final = logging.getLogger(__name__)


class PendingEvents:
    def __init__(self, js: JetStreamContext) -> None:
        self.js = js
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, event: Event, storing: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run `storing`, which stores `event`."""
        task = asyncio.create_task(storing)
        self._tasks.add(task)
        task.add_done_callback(partial(self._end, event))
        return task

    async def drain(self, within_s: float) -> None:
        """Wait until the events are stored; those that are late are logged and lost."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=within_s)
            await cancel_and_wait(*late)

    def _end(self, event: Event, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            _log.error("an event was not stored before the worker stopped: %s", encode(event).decode())
        elif (error := task.exception()) is not None:
            _log.error("an event could not be stored: %r %s", error, encode(event).decode())
