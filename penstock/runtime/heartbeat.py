"""Heartbeats: each process publishes its presence every few seconds, and others read and follow it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Final

import nats.errors
from msgspec.structs import replace
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from penstock.bus.clock import ServerTime, loop_now_s
from penstock.bus.direct_get import NoSuchStream, read_all, stream_position
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract import codec
from penstock.contract.presence import Presence
from penstock.contract.streams import PRESENCE
from penstock.runtime.aio import CriticalLoop

__all__ = [
    "HEARTBEAT_S",
    "Heartbeat",
    "follow_presence",
    "read_heard",
    "read_presence",
    "read_recent_presence",
    "watch_presence",
]

_log: Final = rate_limited_logger(__name__)
HEARTBEAT_S: Final = 2.0
"""Seconds from one heartbeat of a process to the next, at most."""
_AT_MOST_EVERY_S: Final = 0.25
_FLUSH_S: Final = 2
"""Seconds that the server has to confirm the first presence."""
_PREFIX: Final = f"$KV.{PRESENCE.name}."
_OPERATION: Final = "KV-Operation"


class Heartbeat:
    """Publishes the presence of one process until it is stopped, then deletes it.

    The deletion carries the last presence as its body, for a router that starts while the last worker of a role is
    being replaced (`read_recent_presence`).
    """

    def __init__(
        self,
        nc: Nats,
        describe: Callable[[], Presence],
        changed: asyncio.Event | None = None,
        *,
        every_s: float = HEARTBEAT_S,
        server_time: ServerTime | None = None,
    ) -> None:
        """`changed`: set by others to publish a changed presence before the regular interval is over. `server_time`:
        its offset is part of each presence.
        """
        self._nc = nc
        self._every_s = every_s
        self._describe = describe
        self._server_time = server_time or ServerTime()
        self._changed = changed or asyncio.Event()
        self._loop = CriticalLoop("heartbeat")

    async def start(self) -> None:
        """Publish the first presence: what is sent after this returns reaches a router that knows this process."""
        await self._publish()
        with contextlib.suppress(nats.errors.Error, TimeoutError):  # the loop publishes it again
            await self._nc.flush(timeout=_FLUSH_S)
        self._loop.start(self._run())

    async def stop(self) -> None:
        await self._loop.stop()
        presence = self._describe()
        try:
            await self._nc.publish(_subject(presence), codec.encode(presence), headers={_OPERATION: "DEL"})
        except nats.errors.Error as error:  # the presence then expires after half a minute
            _log.warning("presence cannot be deleted: %r", error)

    async def _run(self) -> None:
        while True:
            earliest_s = loop_now_s() + _AT_MOST_EVERY_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):  # the only timer where nothing changes
                    await self._changed.wait()
            if (early_s := earliest_s - loop_now_s()) > 0:
                await asyncio.sleep(early_s)
            self._changed.clear()
            try:
                await self._publish()
            except nats.errors.Error as error:
                _log.warning("presence cannot be published now: %r", error)

    async def _publish(self) -> None:
        """Publish without acknowledgement: the next heartbeat replaces a lost one."""
        offset_s = round(self._server_time.offset_s, 3)
        presence = replace(self._describe(), clock_offset_s=offset_s)
        await self._nc.publish(_subject(presence), codec.encode(presence))


def _subject(presence: Presence) -> str:
    return f"{_PREFIX}{presence.service}.{presence.instance}"


async def read_presence(nc: Nats) -> list[Presence]:
    """The presence of every live process, by service and instance; empty where there is no bucket yet.

    Raises nats.errors.Error or TimeoutError when the bucket does not answer.
    """
    return [presence for presence, deleted in await _read_bucket(nc) if not deleted]


async def read_recent_presence(nc: Nats) -> list[Presence]:
    """The same, and the processes that stopped within the bucket's time to live."""
    return [presence for presence, _ in await _read_bucket(nc)]


async def read_heard(nc: Nats, service: str) -> list[tuple[Presence, float]]:
    """The presence of every live process of `service`, and the seconds since its last heartbeat, both times by the
    clock of the NATS server. Raises as `read_presence`.
    """
    found: dict[str, tuple[Presence, float]] = {}
    stream = f"KV_{PRESENCE.name}"
    async for msg in read_all(nc, stream, f"{_PREFIX}{service}.*"):
        headers = msg.headers or {}
        key = headers["Nats-Subject"]
        presence = _read(key, msg.data) if msg.data and _OPERATION not in headers else None
        found.pop(key, None)
        if presence is not None:
            found[key] = presence, datetime.fromisoformat(headers["Nats-Time-Stamp"]).timestamp()
    now_s = (await stream_position(nc, stream)).unix_ns / 1e9
    return [(presence, max(0.0, now_s - heard_s)) for presence, heard_s in found.values()]


async def _read_bucket(nc: Nats, key: str = ">") -> list[tuple[Presence, bool]]:
    """The latest presence of each process that matches `key`, and whether it was deleted.

    nats-py's KeyValue is not used: it sends one request per key, and raises for a key that it would reject itself.
    """
    found: dict[str, tuple[Presence | None, bool]] = {}
    try:
        async for msg in read_all(nc, f"KV_{PRESENCE.name}", f"{_PREFIX}{key}"):
            headers = msg.headers or {}
            key = headers["Nats-Subject"]
            found[key] = (_read(key, msg.data) if msg.data else None, _OPERATION in headers)
    except NoSuchStream:
        return []
    readable = [(presence, deleted) for presence, deleted in found.values() if presence is not None]
    return sorted(readable, key=lambda each: (each[0].service, each[0].instance))


async def watch_presence(
    nc: Nats, on_change: Callable[[str, Presence | None], None], keys: Collection[str]
) -> None:
    """Call `on_change(instance, presence)` for every heartbeat from now on; None when the instance stopped.

    `keys`: whose heartbeats, `<service>.<instance>` or `<service>.*` each. Every one that is received wakes this
    process up. Its own belong to them where it concludes from silence that it receives nothing.
    """

    async def on_heartbeat(msg: Msg) -> None:
        instance = msg.subject.rpartition(".")[2]
        if not msg.data or _OPERATION in (msg.headers or {}):
            on_change(instance, None)
            return
        presence = _read(msg.subject, msg.data)
        if presence is not None:
            on_change(instance, presence)

    for key in keys:
        await nc.subscribe(f"{_PREFIX}{key}", cb=on_heartbeat)


async def follow_presence(
    nc: Nats, on_change: Callable[[str, Presence | None], None], keys: Collection[str]
) -> None:
    """Call `on_change` for each live process that matches one of `keys`, then for every change (`watch_presence`)."""
    await watch_presence(nc, on_change, keys)
    try:
        present = [found for key in keys for found in await _read_bucket(nc, key)]
    except (nats.errors.Error, TimeoutError) as error:
        _log.warning(
            "presence cannot be read (%r): other processes are unknown until their next heartbeat", error
        )
        return
    for presence, deleted in present:
        if not deleted:
            on_change(presence.instance, presence)


def _read(where: str, data: bytes) -> Presence | None:
    try:
        return codec.PRESENCE.decode(data)
    except codec.INVALID as error:
        _log.warning("%s does not hold a valid presence: %s", where, error)
        return None
