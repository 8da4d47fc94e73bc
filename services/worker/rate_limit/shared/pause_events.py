"""Pauses that other workers announce, for models without a configured limit (C4, decision 0021).

A pause of a model with a limit is part of the quota record; without a limit there is no record that is written.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
import nats.errors
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.errors import APIError, NotFoundError

from penstock.bus.clock import Clock, loop_now_s
from penstock.bus.freezes import AwakeTimeout
from penstock.contract import subjects
from penstock.contract.events import QuotaPaused
from penstock.contract.streams import AUDIT
from services.worker.rate_limit.pause import LONGEST_RETRY_S
from services.worker.rate_limit.quota import QuotaKey

__all__ = ["PauseEvents"]

_log: Final = logging.getLogger(__name__)
_TIMEOUT_S: Final = 1.0
"""Seconds for reading all latest events at the start."""
_LONGEST_PAUSE_MS: Final = int(LONGEST_RETRY_S * 1000)
"""Milliseconds of the longest pause that a worker announces. A forged event pauses no longer, whatever it holds."""
_DECODER: Final = msgspec.json.Decoder(QuotaPaused)


class PauseEvents:
    """Subscribes to `QuotaPaused` events.

    `until_ms` - `at_ms` of an event is the length of the pause, from its arrival on: no wall clock is compared. Only at
    the start the latest event of each model is read; its age is measured from the server's time stamp by our wall
    clock. If the two clocks disagree, one request is sent too early, or some seconds late.
    """

    def __init__(
        self,
        nc: Nats,
        js: JetStreamContext,
        instance: str,
        on_pause: Callable[[QuotaKey, float], None],
        clock: Clock,
    ) -> None:
        """`on_pause(key, until_s)`: another worker received a 429; monotonic seconds."""
        self._nc = nc
        self._js = js
        self._instance = instance
        self._on_pause = on_pause
        self._clock = clock

    async def start(self, models: Iterable[str]) -> None:
        """Subscribe, then read the latest event of each of `models`. One that cannot be read costs one 429."""

        async def receive(msg: Msg) -> None:
            self._apply(msg.data, age_s=0.0)

        await self._nc.subscribe(subjects.QUOTA_EVENTS, cb=receive)
        try:
            async with AwakeTimeout(_TIMEOUT_S):
                await asyncio.gather(*(self._read_latest(model) for model in models))
        except (nats.errors.Error, APIError, TimeoutError, OSError) as error:
            _log.warning("pauses that began before the start are not known: %r", error)

    async def _read_latest(self, model: str) -> None:
        try:
            msg = await self._js.get_last_msg(AUDIT.name, subjects.event("quota", model), direct=False)
        except NotFoundError:
            return
        if msg.data and msg.time is not None:
            self._apply(msg.data, age_s=max(0.0, self._clock.unix_s() - msg.time.timestamp()))

    def _apply(self, data: bytes, age_s: float) -> None:
        try:
            event = _DECODER.decode(data)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return  # another kind of event on the same subjects, or not an event
        left_s = min(event.until_ms - event.at_ms, _LONGEST_PAUSE_MS) / 1000 - age_s
        if event.worker != self._instance and left_s > 0:
            until_s = loop_now_s() + left_s
            self._on_pause(QuotaKey(event.credential, event.model), until_s)
