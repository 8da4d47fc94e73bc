"""What is replaced in nats-py, which is pinned to the minor version 2.16 because private parts of it are used; the
modules in `wire` and `write_check.py` use such parts too.

The replacements of `publish`, `jetstream` and `_init_request_sub`, and `_read_at_once`, only save calls, as `wire`
does. Every other one repairs a fault, and `tests/unit/bus/test_nats_patches.py` has a test for each that fails once
upstream has fixed it.

nats-py parses a message outside of any `try`, inside the loop that reads the connection. A header block such as `junk`,
or a byte in a subject that is not UTF-8 or that its parser takes for a space, ends that loop; the socket stays open and
unread until two pings have gone unanswered. JetStream delivers the message again after the reconnection, so that one
publisher could stop every process. And nats-py sends credentials in clear text to a server that does not offer TLS,
even where the address or the options demand TLS.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Iterable
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final, TypeVar

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
from nats.aio.transport import TcpTransport
from nats.errors import ProtocolError
from nats.js import JetStreamContext
from nats.protocol.parser import AWAITING_CONTROL_LINE, AWAITING_MSG_PAYLOAD, CRLF_SIZE, Parser

from penstock.bus.freezes import AwakeTimeout, note_received
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.wire.headers import decode_headers
from penstock.bus.wire.receiving import HMSG, MSG, build_message, read_messages, subscribe_directly
from penstock.bus.wire.sending import ping_after_pending, send

__all__ = [
    "TlsNotOffered",
    "allow_web_sockets",
    "demanded_by_server",
    "discard_pending",
    "install",
    "is_rejection",
    "is_set_up",
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
_publish: Final = Nats.publish
_jetstream: Final = Nats.jetstream
_parse: Final = Parser.parse

_CONTEXT: Final = "_penstock_context"
"""The attribute of a connection with its context. The context holds the connection, so a WeakKeyDictionary would free
neither.
"""
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


async def _headers_or_none(self: Nats, headers: bytes | None) -> dict[str, str] | None:
    if not headers:
        return None
    if (ordinary := decode_headers(headers)) is not None:
        return ordinary
    try:
        read: dict[str, str] | None = await _process_headers(self, headers)
    except (IndexError, UnicodeDecodeError) as error:
        _log.warning("a message has an unreadable header block: %r", error)
        return None
    return read


async def _parse_or_reconnect(self: Parser, data: bytes = b"") -> None:
    """nats-py reconnects at once after a ProtocolError; after any other error it would leave the socket unread."""
    note_received(self.nc)
    try:
        await _parse_whole(self, data)
    except (ProtocolError, OSError):
        raise
    except Exception as error:
        raise _protocol_error(error) from error


async def _parse_whole(self: Parser, data: bytes) -> None:
    """Complete what has been read in part, deliver the messages after it at once, and leave the rest to nats-py."""
    at = 0
    if self.state == AWAITING_MSG_PAYLOAD:
        at = self.needed + CRLF_SIZE - len(self.buf)
        await _parse(self, data[:at])
    elif self.buf:  # the beginning of a control line
        data, self.buf = bytes(self.buf) + data, bytearray()
    if not self.buf:
        at += read_messages(self.nc, data[at:])
    if at < len(data):
        await _parse(self, data[at:])


def _protocol_error(error: Exception) -> ProtocolError:
    """For an error while data from the server was read, which it logs: the connection has to be made again."""
    if isinstance(
        error, MemoryError
    ):  # the task that reads would die of it, and its end would be noticed late
        context = {"message": "there is no memory for data from the NATS server", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)
    else:
        _log.error("data from the server cannot be read; connecting again", exc_info=error)
    return ProtocolError()


def _read_at_once(nc: Nats, reader: Any) -> None:
    """Deliver what the `StreamReader` of a connection is fed at once, while nothing fed before waits to be read. The
    task of nats-py reads what is left.
    """
    feed: Callable[[bytes], None] = reader.feed_data
    parser, note = nc._ps, note_received(nc)

    def feed_data(data: bytes) -> None:
        if (
            reader._waiter is None
            or parser.buf
            or parser.state != AWAITING_CONTROL_LINE
            or not nc.is_connected
        ):
            feed(data)
            return
        note()
        try:
            at = read_messages(nc, data)
        except Exception as error:  # noqa: BLE001 - logged
            reader.set_exception(_protocol_error(error))
            return
        if at < len(data):
            feed(data[at:])

    reader.feed_data = feed_data


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
    if isinstance(self._transport, TcpTransport) and self._transport._io_reader is not None:
        _read_at_once(self, self._transport._io_reader)


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
    result (python/cpython#86296), and the cancelled task runs on. After a freeze, what arrived is read first.
    """
    async with AwakeTimeout(timeout):
        return await awaitable


async def _publish_or_wait(
    self: Nats, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, str] | None = None
) -> None:
    if not send(self, subject, payload, reply, headers):
        await _publish(self, subject, payload, reply, headers)


async def _subscribe_to_answers(self: Nats) -> None:
    """nats-py's own, without a queue of answers and a task that passes each to its request."""
    self._resp_map = {}
    prefix = f"{self.new_inbox()}."
    self._resp_sub_prefix = bytearray(prefix.encode())

    def take(msg: Msg) -> None:
        answer = self._resp_map.pop(msg.subject[len(prefix) :], None)
        if answer is not None and not answer.done():
            answer.set_result(msg)

    await subscribe_directly(self, f"{prefix}*", take)


def _one_context(self: Nats, **options: Any) -> JetStreamContext:
    """nats-py makes a context at each call, with a semaphore, an event and a parser of e-mail headers."""
    if options:
        return _jetstream(self, **options)
    kept = vars(self)
    context: JetStreamContext | None = kept.get(_CONTEXT)
    if context is None:
        context = kept[_CONTEXT] = _jetstream(self)
    return context


_ASYNCIO: Final = ModuleType("asyncio")
"""`asyncio` with the `wait_for` above, for the modules of nats-py that call it."""
vars(_ASYNCIO).update(vars(asyncio), wait_for=_wait_for)


def install() -> None:
    """Patch nats-py for every connection of this process: unreadable headers count as none, a message with an
    unreadable subject is delivered, data that cannot be parsed ends the connection, a connection that the server
    rejects is made again, the socket of a failed handshake is closed, credentials are sent only over TLS where TLS is
    configured, a `flush` ends after the server has read what was published before it, a late answer to one does not
    end the connection, a cancelled call ends in the cancellation, what arrives from the server is noted, ordinary
    messages are published and delivered in fewer steps, and a connection has one JetStream context.
    """
    nats.protocol.parser.MSG_RE = MSG
    nats.protocol.parser.HMSG_RE = HMSG
    Nats._process_headers = _headers_or_none  # type: ignore[method-assign]
    Nats._build_message = build_message  # type: ignore[method-assign, assignment]
    Nats._init_request_sub = _subscribe_to_answers  # type: ignore[method-assign]
    Nats.publish = _publish_or_wait  # type: ignore[method-assign]
    Nats.jetstream = _one_context  # type: ignore[method-assign]
    Nats._process_err = _reconnect_after_rejection  # type: ignore[method-assign]
    Nats._process_connect_init = _handshake_or_close  # type: ignore[method-assign]
    Nats._connect_command = _connect_command_over_tls  # type: ignore[method-assign]
    Nats._send_ping = ping_after_pending  # type: ignore[method-assign]
    Nats._process_pong = _pong_or_late_pong  # type: ignore[method-assign]
    Parser.parse = _parse_or_reconnect  # type: ignore[method-assign]
    for module in _CALLERS_OF_WAIT_FOR:
        vars(module)["asyncio"] = _ASYNCIO


def allow_web_sockets(servers: Iterable[str]) -> None:
    """Give nats-py aiohttp for WebSocket addresses; services import nats-py without it.

    Without the library, `connect` raises ImportError with the advice to install it.
    """
    if any(server.startswith(("ws://", "wss://")) for server in servers) and find_spec("aiohttp") is not None:
        vars(nats.aio.transport)["aiohttp"] = importlib.import_module("aiohttp")


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


async def unsubscribe_at_server(nc: Nats, subscription: Subscription) -> None:
    """Send UNSUB and go on listening: a message that is already on its way still arrives.

    `Subscription.unsubscribe` and `drain` stop listening, which can miss a message that is being delivered.
    """
    await nc._send_unsubscribe(subscription._id)
