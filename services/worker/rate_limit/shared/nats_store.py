"""The store of shared records in NATS: compare-and-set on the bucket, and a watch of its republished entries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

import nats.errors
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

from penstock.bus.freezes import AwakeTimeout
from penstock.bus.jetstream_errors import is_absent, is_conflict
from penstock.contract import subjects
from penstock.contract.headers import EXPECTED_LAST
from penstock.contract.streams import QUOTA
from services.worker.rate_limit.shared.store_protocol import Conflict, Stored, Unreachable

__all__ = ["NatsRecordStore"]

_TIMEOUT_S: Final = 1.0
"""Seconds to wait for an answer."""
_STREAM: Final = f"KV_{QUOTA.name}"
_PREFIX: Final = f"$KV.{QUOTA.name}."
_UNREACHABLE: Final = (nats.errors.Error, NoStreamResponseError, APIError, TimeoutError, OSError)


class NatsRecordStore:
    def __init__(self, nc: Nats, js: JetStreamContext, repair: Callable[[], Awaitable[None]]) -> None:
        """`repair`: called when the bucket is missing; provisions it, or does nothing."""
        self._nc = nc
        self._js = js
        self._repair = repair

    async def read(self, key: str) -> Stored | None:
        self._require_connection()
        try:
            async with AwakeTimeout(_TIMEOUT_S):
                # Not a direct get: another node's answer may be old (decision 0017).
                msg = await self._js.get_last_msg(_STREAM, _PREFIX + key, direct=False)
        except NotFoundError as error:
            if is_absent(error):
                return None
            raise await self._missing(error) from error
        except _UNREACHABLE as error:
            raise Unreachable(repr(error)) from error
        headers = msg.headers or {}
        data = b"" if "KV-Operation" in headers else msg.data or b""
        return Stored(data, msg.seq or 0, 0.0 if msg.time is None else msg.time.timestamp())

    async def write(self, key: str, data: bytes, revision: int) -> int:
        self._require_connection()
        try:
            ack = await self._js.publish(
                _PREFIX + key, data, timeout=_TIMEOUT_S, headers={EXPECTED_LAST: str(revision)}
            )
        except NoStreamResponseError as error:
            raise await self._missing(error) from error
        except APIError as error:
            if is_conflict(error):
                raise Conflict(key) from error
            raise Unreachable(repr(error)) from error
        except _UNREACHABLE as error:
            raise Unreachable(repr(error)) from error
        return int(ack.seq)

    async def watch(self, on_stored: Callable[[str, Stored], None]) -> None:
        """Call `on_stored(key, entry)` for every entry from now on. A missed one only costs a conflict."""

        async def receive(msg: Msg) -> None:
            headers = msg.headers or {}
            key = headers.get("Nats-Subject", "").removeprefix(_PREFIX)
            if msg.data and key:
                on_stored(key, Stored(msg.data, int(headers["Nats-Sequence"]), _unix_s(headers)))

        await self._nc.subscribe(subjects.QUOTA_STORED, cb=receive)

    def _require_connection(self) -> None:
        if not self._nc.is_connected:  # nats-py would buffer the write and send it after the caller gave up
            raise Unreachable("not connected to NATS")

    async def _missing(self, error: Exception) -> Unreachable:
        try:
            await self._repair()
        except _UNREACHABLE as failure:
            return Unreachable(f"the bucket {QUOTA.name} is missing and cannot be created: {failure!r}")
        return Unreachable(f"the bucket {QUOTA.name} was missing: {error!r}")


def _unix_s(headers: dict[str, str]) -> float:
    text = headers.get("Nats-Time-Stamp", "")
    try:
        return datetime.fromisoformat(text[:26].rstrip("Z") + "Z").timestamp()
    except ValueError:
        return 0.0
