"""Bodies of requests that exceed a message: stored in parts, read, verified and deleted (docs/decisions/0026)."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Final

import msgspec
import nats.errors
from msgspec import Raw
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from penstock.bus.clock import loop_now_s
from penstock.bus.direct_get import last_sequence, read_page, sequence_of
from penstock.bus.ids import new_id
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.publish import Stored, store_or_refuse
from penstock.bus.retry import RetryPolicy, retry
from penstock.contract import subjects
from penstock.contract.request import BodyRef
from penstock.contract.streams import BODIES, BODY_PART_BYTES, MAX_BODY_BYTES
from penstock.contract.subjects import ReplyAddress

__all__ = ["BodyDiffers", "BodyLost", "BodyUpload", "delete_body", "read_body", "reference_to"]

_log: Final = rate_limited_logger(__name__)
_PAGE_BYTES: Final = 4 * BODY_PART_BYTES
"""Bytes per read: other messages of the connection wait behind them."""
_MOST_PARTS: Final = MAX_BODY_BYTES // 4096
_DELETION_TIMEOUT_S: Final = 2.0
_LAST_PART_S: Final = 2.0
_DELETION_RETRY: Final = RetryPolicy(timeout_s=6.0)
"""A restart of NATS takes less."""


class BodyLost(Exception):
    """The body, or a part of it, is not stored: it was deleted, has expired, or was never stored."""


class BodyDiffers(Exception):
    """The stored body is not the one that the reference describes."""


class _Purged(msgspec.Struct):
    """The field of a response to STREAM.PURGE that is used here."""

    error: dict[str, object] | None = None


_decode_purged: Final = msgspec.json.Decoder(_Purged).decode


async def reference_to(body: Raw | bytes) -> BodyRef:
    return BodyRef(size=memoryview(body).nbytes, sha256=await _sha256(body))


class BodyUpload:
    """The storing of the body of the request at `address` by one process.

    Its parts have subjects of their own, so that processes that store the body of the same request neither replace nor
    delete the parts of each other.
    """

    def __init__(self, nc: Nats, address: ReplyAddress) -> None:
        self._nc = nc
        self._address = address
        self._id = new_id()
        self._storing: asyncio.Task[Stored] | None = None
        """Of the last part."""

    async def store(self, body: Raw | bytes, *, timeout_s: float) -> None:
        """Store the body part by part, once.

        Raises StreamFull when there is no space, StreamNotWritable, and the last nats error after `timeout_s`; parts
        may be stored then.
        """
        js, parts = self._nc.jetstream(), memoryview(body)
        part_bytes = min(BODY_PART_BYTES, self._nc.max_payload // 2)
        give_up_s = loop_now_s() + timeout_s
        for offset in range(0, parts.nbytes, part_bytes):
            self._storing = asyncio.create_task(
                store_or_refuse(
                    js,
                    subjects.body_part(self._address, self._id, offset),
                    bytes(parts[offset : offset + part_bytes]),
                    message_id=f"{self._id}.{offset}",
                    timeout_s=max(0.0, give_up_s - loop_now_s()),
                )
            )
            await asyncio.shield(self._storing)

    async def undo(self) -> None:
        """Delete what was stored, also by a `store` that was cancelled. A failure is logged: the parts expire later."""
        if (
            self._storing is not None
        ):  # JetStream may store the last part only after it has deleted the others
            await asyncio.wait([self._storing], timeout=_LAST_PART_S)
            self._storing.cancel()
            await asyncio.gather(self._storing, return_exceptions=True)
        await _delete(self._nc, self._address, self._id)


async def read_body(
    nc: Nats, address: ReplyAddress, ref: BodyRef, *, timeout_s: float = RetryPolicy().timeout_s
) -> bytearray:
    """The body of the request at `address`. Repeated while JetStream does not answer.

    Raises BodyLost, BodyDiffers, and nats.errors.Error or TimeoutError after `timeout_s`.
    """
    if not all(map(subjects.is_token, address)):
        raise BodyLost("its account, client or id is not a valid subject token")
    if not 0 < ref.size <= MAX_BODY_BYTES:
        raise BodyDiffers(f"a stored body has 1 to {MAX_BODY_BYTES:,} bytes, not {ref.size:,}")
    body = await retry(
        lambda: _read(nc, subjects.body_parts(address), ref.size),
        on=(nats.errors.Error, TimeoutError),
        report=lambda error: _log.warning("the body of a request cannot be read yet: %r", error),
        policy=RetryPolicy(timeout_s=timeout_s),
    )
    if await _sha256(body) != ref.sha256:
        raise BodyDiffers("the stored body has another SHA-256 than its body_ref")
    return body


async def delete_body(nc: Nats, address: ReplyAddress) -> None:
    """Delete the body of the request at `address`, if one is stored. A failure is logged: the body expires later."""
    await _delete(nc, address)


async def _delete(nc: Nats, address: ReplyAddress, upload: str = "*") -> None:
    """Delete the parts of one upload, or of all. Repeated for some seconds while NATS does not answer."""
    if not all(map(subjects.is_token, address)):
        return  # a wildcard would delete the bodies of other requests
    error: object = None
    try:
        error = await retry(
            lambda: _purge(nc, subjects.body_parts(address, upload)),
            on=(nats.errors.Error, TimeoutError),
            report=lambda error: _log.info("the body of a request cannot be deleted yet: %r", error),
            policy=_DELETION_RETRY,
            transient=lambda error: not isinstance(error, nats.errors.ConnectionClosedError),
        )
    except (nats.errors.Error, TimeoutError, msgspec.MsgspecError) as failure:
        error = failure
    if error is not None:
        _log.warning("the body of request %s is not deleted and will expire: %r", address.id, error)


async def _purge(nc: Nats, parts: str) -> str | None:
    """The error of the server; None: it deleted the parts."""
    purged = msgspec.json.encode({"filter": parts})
    msg = await nc.request(f"$JS.API.STREAM.PURGE.{BODIES.name}", purged, timeout=_DELETION_TIMEOUT_S)
    error = _decode_purged(msg.data).error
    return None if error is None else str(error.get("description"))


async def _read(nc: Nats, parts: str, size: int) -> bytearray:
    body, sequence = bytearray(size), 1
    found: list[tuple[int, int]] = []
    while True:
        page = await read_page(nc, BODIES.name, parts, sequence=sequence, max_bytes=_PAGE_BYTES)
        for msg in page.messages:
            start = _offset_of(msg)
            end = start + len(msg.data)
            if not 0 <= start < end <= size or len(found) == _MOST_PARTS:
                raise BodyDiffers(f"the stored parts are not those of a body of {size:,} bytes")
            body[start:end] = msg.data
            found.append((start, end))
            sequence = sequence_of(msg) + 1
        if not page.messages or page.pending == 0 or _is_complete(found, size):
            break
    if not _is_complete(found, size):
        if await last_sequence(nc, BODIES.name, parts) >= sequence:
            raise TimeoutError(f"{BODIES.name}: a node lacks parts that its leader has")
        raise BodyLost(f"{sum(end - start for start, end in found):,} of its {size:,} bytes are stored")
    return body


def _offset_of(msg: Msg) -> int:
    """Negative for a subject that has none: any publisher may have written it."""
    try:
        return subjects.body_offset((msg.headers or {})["Nats-Subject"])
    except ValueError:
        return -1


def _is_complete(found: list[tuple[int, int]], size: int) -> bool:
    """Whether the parts, of which some may overlap, leave no gap."""
    reached = 0
    for start, end in sorted(found):
        if start > reached:
            return False
        reached = max(reached, end)
    return reached == size


async def _sha256(body: Raw | bytes | bytearray) -> str:
    """In a thread: a large body takes tens of milliseconds, in which hashlib releases the interpreter."""
    return (await asyncio.to_thread(hashlib.sha256, body)).hexdigest()
