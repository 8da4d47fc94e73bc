"""Keeps what a process knows equal to a bucket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

import nats.errors
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from penstock.bus.bucket import Record, last_change, read_records
from penstock.bus.connection import ConnectionEvents
from penstock.bus.freezes import AwakeTimeout
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.streams import BucketSpec
from penstock.runtime.aio import CriticalLoop

__all__ = ["BucketFollower"]

_log: Final = rate_limited_logger(__name__)
_POLL_S: Final = 1.0
"""Between two looks for a change whose announcement was lost."""
_RETRY_S: Final = 0.25
"""After a failed read."""
_FIRST_READ_S: Final = 5.0
"""How long a starting process waits for the records."""


class BucketFollower:
    """The server announces each change on a plain subject. An announcement, or a reconnection, only starts a read of
    the bucket, and a look at its last sequence each second finds a change whose announcement was lost: what is known
    never depends on the order of messages.
    """

    def __init__(
        self,
        nc: Nats,
        events: ConnectionEvents,
        bucket: BucketSpec,
        replace: Callable[[Sequence[Record]], None],
    ) -> None:
        """`replace` gets all records after each change. Raises ValueError for a bucket without announcements."""
        if bucket.republished_as is None:
            raise ValueError(f"the bucket {bucket.name} does not announce its changes")
        self._announcements = bucket.republished_as
        self._nc = nc
        self._events = events
        self._bucket = bucket
        self._replace = replace
        self._last: int | None = None
        """The last change that was read; None: read again whatever it is."""
        self._wake = asyncio.Event()
        self._was_read = asyncio.Event()
        self._subscription: Subscription | None = None
        self._loop = CriticalLoop(f"bucket {bucket.name}")

    async def start(self) -> bool:
        """Return when the records were read, or after some seconds without them: then False."""
        self._subscription = await self._nc.subscribe(self._announcements, cb=self._on_change)
        self._events.add_reconnect_listener(self._on_reconnect)
        self._loop.start(self._run())
        with contextlib.suppress(TimeoutError):
            async with AwakeTimeout(_FIRST_READ_S):
                await self._was_read.wait()
        return self._was_read.is_set()

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
            last = await last_change(self._nc, self._bucket)
            if last != self._last:
                self._replace(await read_records(self._nc, self._bucket, last))
                self._last = last
                self._was_read.set()
        except (nats.errors.Error, TimeoutError) as error:
            _log.warning(
                "the bucket %s cannot be read, what is known of it stays valid: %r", self._bucket.name, error
            )
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
