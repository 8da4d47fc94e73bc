"""Publishing without nats-py's coroutines and its flusher, where nothing has to wait.

What is published in one iteration of the event loop is written to the socket at once, as nats-py's flusher does.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Mapping
from typing import Any, Final

import nats.errors
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.aio.transport import TcpTransport

from penstock.bus.wire.headers import encode_headers

__all__ = ["has_room", "ping_after_pending", "publish_all", "publish_for_answer", "send"]

# ruff: noqa: SLF001 - private parts of nats-py; tests/integration/bus/test_publish.py tells when they change

_CONNECTED: Final = Nats.CONNECTED
_MOST_UNWRITTEN: Final = 64 * 1024
"""Bytes that the socket has not taken from which on the flusher of nats-py writes, which waits until it has."""
_requests: Final = itertools.count()
"""Numbers of requests: an answer is found by one that no other request of the process has."""

_flushing: Final[set[asyncio.Task[object]]] = set()
_send_ping: Final = Nats._send_ping


def send(
    nc: Nats, subject: str, payload: bytes, reply: str = "", headers: Mapping[str, str] | None = None
) -> bool:
    """Publish a message if nats-py would neither wait nor raise an error. Returns whether that is so; if not, nothing
    was published.

    Raises BadHeaderError, and MaxPayloadError where headers and payload together are larger than the server accepts:
    nats-py compares the payload only, and the server then ends the connection.
    """
    size = len(payload)
    if nc._status != _CONNECTED or size > nc._max_payload or not subject:
        return False
    text = subject + reply
    if " " in text or "\n" in text or "\r" in text or "\t" in text:
        return False
    if headers is None:
        command = b"".join((f"PUB {subject} {reply} {size}\r\n".encode(), payload, b"\r\n"))
    else:
        block = encode_headers(headers)
        if len(block) + size > nc._max_payload:
            raise nats.errors.MaxPayloadError
        start = f"HPUB {subject} {reply} {len(block)} {len(block) + size}\r\n".encode()
        command = b"".join((start, block, payload, b"\r\n"))
    unwritten = nc._pending_data_size + len(command)
    if unwritten > nc._max_pending_size:
        return False
    if not nc._pending:
        asyncio.get_running_loop().call_soon(_flush, nc)
    nc._pending.append(command)
    nc._pending_data_size = unwritten
    nc.stats["out_msgs"] += 1
    nc.stats["out_bytes"] += size
    return True


def has_room(nc: Nats, size: int) -> bool:
    """Whether `send` takes messages with valid subjects that are `size` bytes together, with their commands."""
    return (
        nc._status == _CONNECTED
        and size <= nc._max_payload
        and nc._pending_data_size + size <= nc._max_pending_size
    )


async def publish_for_answer(
    nc: Nats, subject: str, payload: bytes, headers: dict[str, str], within_s: float
) -> Msg | asyncio.Future[Msg]:
    """Publish and wait for the answer, as nats-py's `request` in fewer steps.

    Returns the answer if it comes within `within_s` seconds, otherwise its future, which has no time limit: cancel it
    to stop waiting. Raises what `publish` raises.
    """
    if not nc._resp_sub_prefix:
        await nc._init_request_sub()
    assert nc._resp_sub_prefix is not None  # noqa: S101 - set by the call
    token = f"{next(_requests):x}"
    reply = nc._resp_sub_prefix.decode() + token
    waiting: dict[str, asyncio.Future[Any]] = nc._resp_map
    loop = asyncio.get_running_loop()
    answer = waiting[token] = loop.create_future()
    timer: asyncio.TimerHandle | None = None
    try:
        if not send(nc, subject, payload, reply, headers):
            await nc.publish(subject, payload, reply, headers)
        timer = loop.call_later(within_s, _return_future, waiting, token)
        got: Msg | asyncio.Future[Msg] = await answer
    except BaseException:
        if (late := waiting.pop(token, None)) is not None:
            late.cancel()
        raise
    finally:
        if timer is not None:
            timer.cancel()
    return got


def _return_future(waiting: dict[str, asyncio.Future[Any]], token: str) -> None:
    """Let the answer come to a second future, which is the result of the first one."""
    answer = waiting.get(token)
    if answer is not None and not answer.done():
        later = waiting[token] = answer.get_loop().create_future()
        later.add_done_callback(lambda _: waiting.pop(token, None))
        answer.set_result(later)


async def publish_all(nc: Nats, messages: Iterable[tuple[str, bytes]]) -> None:
    """Publish messages (subject, payload) without headers, as one write: `publish` takes longer than storing a small
    one. Subjects must be valid. Raises nats.errors.Error without a connection.
    """
    if not nc.is_connected:
        raise nats.errors.ConnectionReconnectingError
    parts: list[bytes] = []
    count = size = 0
    for subject, payload in messages:
        parts += (f"PUB {subject} {len(payload)}\r\n".encode(), payload, b"\r\n")
        count += 1
        size += len(payload)
    nc.stats["out_msgs"] += count
    nc.stats["out_bytes"] += size
    await nc._send_command(b"".join(parts))
    if nc._flush_queue is not None and nc._flush_queue.empty():
        await nc._flush_pending()


def _flush(nc: Nats) -> None:
    """Write what is pending. Without a connection it is written after the next one is made."""
    socket = _open_socket(nc) if nc._status == _CONNECTED else None
    if socket is not None and socket.get_write_buffer_size() <= _MOST_UNWRITTEN:
        pending, nc._pending, nc._pending_data_size = nc._pending, [], 0
        socket.writelines(pending)
        return
    flush: asyncio.Task[object] = asyncio.get_running_loop().create_task(nc._flush_pending())
    _flushing.add(flush)
    flush.add_done_callback(_flushed)


def _open_socket(nc: Nats) -> asyncio.WriteTransport | None:
    """The socket of the connection; None where it is closing, or a WebSocket, which frames what is written."""
    writer = nc._transport._io_writer if type(nc._transport) is TcpTransport else None
    return None if writer is None or writer.transport.is_closing() else writer.transport


def _flushed(flush: asyncio.Task[object]) -> None:
    _flushing.discard(flush)
    if not flush.cancelled():
        flush.exception()  # the connection has just broken: what is pending is written after the next one is made


async def ping_after_pending(self: Nats, future: asyncio.Future[bool] | None = None) -> None:
    """nats-py's own writes PING before what is pending, and the PONG would not show that the server has read that.

    What is pending stays so where the connection has just broken: the socket would drop it.
    """
    transport = self._transport
    if (
        self.is_connected
        and self._pending
        and transport is not None
        and (type(transport) is not TcpTransport or _open_socket(self) is not None)
    ):
        pending, self._pending, self._pending_data_size = self._pending, [], 0
        transport.writelines(pending)
    await _send_ping(self, future)
