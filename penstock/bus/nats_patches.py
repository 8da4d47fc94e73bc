"""All use of private parts of nats-py, which is pinned to the minor version 2.16.

Each function and each replaced method works around one fault or gap. `tests/unit/bus/test_nats_patches.py` has a test
for each that fails once upstream has fixed it.

nats-py parses a message outside of any `try`, inside the loop that reads the connection. A header block such as `junk`,
or a byte in a subject that is not UTF-8 or that its parser takes for a space, ends that loop; the socket stays open and
unread until two pings have gone unanswered. JetStream delivers the message again after the reconnection, so that one
publisher could stop every process. And nats-py sends credentials in clear text to a server that does not offer TLS,
even where the address or the options demand TLS.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Iterable
from types import ModuleType
from typing import Final, TypeVar

import nats.aio.client
import nats.aio.subscription
import nats.aio.transport
import nats.errors
import nats.js.client
import nats.js.kv
import nats.protocol.parser
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import ProtocolError
from nats.protocol.parser import Parser

from penstock.bus.log_limits import rate_limited_logger

__all__ = [
    "TlsNotOffered",
    "demanded_by_server",
    "discard_pending",
    "install",
    "is_rejection",
    "is_set_up",
    "publish_all",
    "unsubscribe_at_server",
]

# ruff: noqa: SLF001 - this module exists for private parts

_Result = TypeVar("_Result")
_log: Final = rate_limited_logger(__name__)
_process_headers: Final = Nats._process_headers
_connect_command: Final = Nats._connect_command
_process_err: Final = Nats._process_err
_process_connect_init: Final = Nats._process_connect_init
_process_pong: Final = Nats._process_pong
_parse: Final = Parser.parse

_MSG: Final = re.compile(rb"\AMSG[ \t]+([^ \t\r\n]+)[ \t]+(\d+)[ \t]+(([^ \t\r\n]+)[ \t]+)?(\d+)\r\n")
_HMSG: Final = re.compile(
    rb"\AHMSG[ \t]+([^ \t\r\n]+)[ \t]+(\d+)[ \t]+(([^ \t\r\n]+)[ \t]+)?(\d+)[ \t]+(\d+)\r\n"
)
"""nats-py's expressions with the server's definition of a space: a subject may hold vertical tab and form feed."""
_REJECTIONS: Final = ("authorization violation", "authentication", "maximum connections")
"""Parts of the `-ERR` texts with which nats-server rejects a client."""
_CALLERS_OF_WAIT_FOR: Final = (
    nats.aio.client,
    nats.aio.subscription,
    nats.aio.transport,
    nats.js.client,
    nats.js.kv,
)


class TlsNotOffered(nats.errors.Error):
    """TLS is configured and the server does not offer it."""


async def _headers_or_none(self: Nats, headers: bytes) -> dict[str, str] | None:
    try:
        read: dict[str, str] | None = await _process_headers(self, headers)
    except (IndexError, UnicodeDecodeError) as error:
        _log.warning("a message has an unreadable header block: %r", error)
        return None
    return read


def _build_message(
    self: Nats, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
) -> Msg:
    """nats-py's own, with bytes that are not UTF-8 written as escapes."""
    return self.msg_class(
        subject=subject.decode(errors="backslashreplace"),
        reply=reply.decode(errors="backslashreplace"),
        data=data,
        headers=headers,
        _client=self,
        _sid=sid,
    )


async def _parse_or_reconnect(self: Parser, data: bytes = b"") -> None:
    """nats-py reconnects at once after a ProtocolError; after any other error it would leave the socket unread."""
    try:
        await _parse(self, data)
    except (ProtocolError, OSError):
        raise
    except Exception as error:
        _log.exception("data from the server cannot be read; connecting again")
        raise ProtocolError from error


def is_rejection(error: str) -> bool:
    """Whether a `-ERR` text of nats-server says that the server rejects this client."""
    return any(part in error.lower() for part in _REJECTIONS)


async def _reconnect_after_rejection(self: Nats, err_msg: str) -> None:
    """nats-py closes the connection for good when the server rejects its user: a JWT expired, a reload removed it.

    A new connection reads the credentials again, and succeeds as soon as the server accepts them.
    """
    if is_rejection(err_msg):
        await self._process_op_err(nats.errors.Error(f"nats: {err_msg}"))
    else:
        await _process_err(self, err_msg)


async def _handshake_or_close(self: Nats) -> None:
    """nats-py leaves the socket of a failed handshake open, one for each attempt to reconnect."""
    try:
        await _process_connect_init(self)
    except BaseException:
        if self._transport is not None:
            self._transport.close()  # type: ignore[no-untyped-call]
        raise


def _connect_command_over_tls(self: Nats) -> bytes:
    """The CONNECT command, which carries the credentials; refused in clear text where TLS is configured."""
    server = self._current_server
    wants_tls = "tls" in self.options or (server is not None and server.uri.scheme == "tls")
    is_web_socket = server is not None and server.uri.scheme in {"ws", "wss"}
    if wants_tls and not is_web_socket and not self._server_info.get("tls_required"):
        raise TlsNotOffered("nats: TLS is configured, and the server does not offer it")
    command: bytes = _connect_command(self)
    return command


async def _pong_or_late_pong(self: Nats) -> None:
    """nats-py sets the result of a `flush` that has timed out or was cancelled, which is an error in its parser."""
    if self._pongs and self._pongs[0].done():
        self._pongs[0] = asyncio.get_running_loop().create_future()
    await _process_pong(self)


async def _wait_for(awaitable: Awaitable[_Result], timeout: float | None) -> _Result:
    """`asyncio.wait_for` as it is from Python 3.12 on. Python 3.11 loses a cancellation that arrives together with the
    result (python/cpython#86296), and the cancelled task runs on.
    """
    async with asyncio.timeout(timeout):
        return await awaitable


_ASYNCIO: Final = ModuleType("asyncio")
"""`asyncio` with the `wait_for` above, for the modules of nats-py that call it."""
vars(_ASYNCIO).update(vars(asyncio), wait_for=_wait_for)


def install() -> None:
    """Patch nats-py for every connection of this process: unreadable headers count as none, a message with an
    unreadable subject is delivered, data that cannot be parsed ends the connection, a connection that the server
    rejects is made again, the socket of a failed handshake is closed, credentials are sent only over TLS where TLS is
    configured, a late answer to a `flush` does not end the connection, and a cancelled call ends in the cancellation.
    """
    nats.protocol.parser.MSG_RE = _MSG
    nats.protocol.parser.HMSG_RE = _HMSG
    Nats._process_headers = _headers_or_none  # type: ignore[method-assign]
    Nats._build_message = _build_message  # type: ignore[method-assign]
    Nats._process_err = _reconnect_after_rejection  # type: ignore[method-assign]
    Nats._process_connect_init = _handshake_or_close  # type: ignore[method-assign]
    Nats._connect_command = _connect_command_over_tls  # type: ignore[method-assign]
    Nats._process_pong = _pong_or_late_pong  # type: ignore[method-assign]
    Parser.parse = _parse_or_reconnect  # type: ignore[method-assign]
    if sys.version_info < (3, 12):
        for module in _CALLERS_OF_WAIT_FOR:
            vars(module)["asyncio"] = _ASYNCIO


def demanded_by_server(nc: Nats) -> str | None:
    """What the server of the last connection attempt demands of a client: a certificate, credentials, or nothing."""
    if nc._server_info.get("tls_verify"):
        return "client certificate"
    return "credentials" if nc._server_info.get("auth_required") else None


def is_set_up(nc: Nats) -> bool:
    """Whether `connect` got as far as opening a connection. `close` asserts it; an invalid address ends earlier."""
    return nc._flush_queue is not None


def discard_pending(nc: Nats) -> None:
    """Empty the send buffer. `close` would write it to a server that does not read, for as long as that lasts."""
    nc._pending.clear()
    nc._pending_data_size = 0


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


async def unsubscribe_at_server(nc: Nats, subscription: Subscription) -> None:
    """Send UNSUB and go on listening: a message that is already on its way still arrives.

    `Subscription.unsubscribe` and `drain` stop listening, which can miss a message that is being delivered.
    """
    await nc._send_unsubscribe(subscription._id)
