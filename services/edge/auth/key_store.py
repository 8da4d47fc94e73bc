"""Keeps the known API keys equal to the bucket."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import nats.errors
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from penstock.bus.connection import ConnectionEvents
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.subjects import KEYS_STORED
from penstock.runtime.aio import CriticalLoop
from penstock.runtime.api_keys.bucket import last_change, read_keys
from services.edge.auth.known_keys import KnownKeys

__all__ = ["KeyStore"]

_log: Final = rate_limited_logger(__name__)
_POLL_S: Final = 1.0
"""Between two looks for a change whose announcement was lost."""
_RETRY_S: Final = 0.25
"""After a failed read."""
_FIRST_READ_S: Final = 5.0
"""How long a starting edge waits for the keys."""


class KeyStore:
    """The server announces each change on a plain subject. An announcement, or a reconnection, only starts a read of
    the bucket, and a look at its last sequence each second finds a change whose announcement was lost: what is known
    never depends on the order of messages.
    """

    def __init__(self, nc: Nats, events: ConnectionEvents, known: KnownKeys) -> None:
        self._nc = nc
        self._events = events
        self._known = known
        self._last: int | None = None
        """The last change that was read; None: read again whatever it is."""
        self._wake = asyncio.Event()
        self._was_read = asyncio.Event()
        self._subscription: Subscription | None = None
        self._loop = CriticalLoop("API keys")

    async def start(self) -> None:
        """Return when the keys were read, or after some seconds without them."""
        self._subscription = await self._nc.subscribe(KEYS_STORED, cb=self._on_change)
        self._events.add_reconnect_listener(self._on_reconnect)
        self._loop.start(self._run())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_READ_S):
                await self._was_read.wait()

    async def stop(self) -> None:
        await self._loop.stop()
        if self._subscription is not None:
            self._events.remove_reconnect_listener(self._on_reconnect)
            with contextlib.suppress(nats.errors.Error):
                await self._subscription.unsubscribe()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            wait_s = _POLL_S if await self._read() else _RETRY_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    async def _read(self) -> bool:
        """Whether what is known is current."""
        try:
            last = await last_change(self._nc)
            if last != self._last:
                self._known.replace(await read_keys(self._nc, last))
                self._last = last
                self._was_read.set()
        except (nats.errors.Error, TimeoutError) as error:
            _log.warning("the API keys cannot be read, those that are known stay valid: %r", error)
            return False
        return True

    async def _on_change(self, _: Msg) -> None:
        self._last = None
        self._wake.set()

    async def _on_reconnect(self) -> None:
        """Begin again: an answer that was lost with the connection is not waited for."""
        await self._loop.stop()
        self._last = None
        self._loop.start(self._run())
