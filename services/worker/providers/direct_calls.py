"""Calls without the SDK: the requests that it sent itself, with another body.

Of the CPU of a call the SDK and its HTTP libraries take most, and make the same request each time. The bytes that they
write are recorded, and once two requests agreed in everything but the body and the label, later ones are written to
the same connections directly. So an update of an SDK changes these requests too, and one that varies its requests keeps
making them.
"""

from __future__ import annotations

from asyncio import WriteTransport
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import Any, Final

from aiohttp import (
    ClientConnectionResetError,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    StreamReader,
)
from aiohttp.connector import Connection
from aiohttp.helpers import TimerNoop
from aiohttp.http import RawResponseMessage
from msgspec import Struct

from services.worker.providers.http_connections import Connector, Request, read_received
from services.worker.providers.size_limits import HEADER_BYTES, HEADERS

__all__ = ["LABEL", "DirectCalls", "DirectResponse"]

LABEL: Final = "X-Client-Request-Id"
"""Header with an id of the call for the provider's support (OpenAI's API reference, "Debugging requests")."""
_OF_CALL: Final = (LABEL.lower().encode(), b"content-length")
"""The headers that differ from call to call."""
_NUL: Final = b"\0"
"""No head contains it."""
_PIECE_BYTES: Final = 256 * 1024
"""What uvloop reads from a socket at once."""
_NO_TIMER: Final = TimerNoop()


class _Recorded(Struct, frozen=True):
    """What was written for a request, without the values that differ from call to call."""

    before: bytes
    between: bytes
    after: bytes
    """The head before, between and after these values."""
    label_first: bool
    endpoint: tuple[Any, ...]
    """What tells its connections from others."""

    @classmethod
    def of(cls, request: Request, head: bytes) -> _Recorded | None:
        """None: the request cannot be repeated."""
        lines = head.split(b"\r\n")
        names = [line.partition(b":")[0].lower() for line in lines]
        if request.method != "POST" or request.proxy is not None or _NUL in head:
            return None
        if any(names.count(name) != 1 for name in _OF_CALL) or b"transfer-encoding" in names:
            return None
        label, length = (names.index(name) for name in _OF_CALL)
        for index in (label, length):
            lines[index] = lines[index].partition(b":")[0] + b": " + _NUL
        before, between, after = b"\r\n".join(lines).split(_NUL)
        return cls(before, between, after, label < length, request.connection_key)

    def message(self, label: str, body: bytes) -> bytes:
        first, second = label.encode(), b"%d" % len(body)
        if not self.label_first:
            first, second = second, first
        return b"".join((self.before, first, self.between, second, self.after, body))


class _Agreed(Struct, frozen=True):
    """How to repeat a request."""

    recorded: _Recorded
    request: Request
    """One without a body, for new connections."""
    connector: Connector

    @classmethod
    def of(cls, recorded: _Recorded, request: Request) -> _Agreed:
        session: ClientSession = request.session
        connector: Any = session.connector
        without_body = Request(
            request.method,
            request.url,
            loop=request.loop,
            session=session,
            ssl=request.ssl,
            server_hostname=request.server_hostname,
        )
        return cls(recorded, without_body, connector)


class DirectCalls:
    """The requests of one client of an SDK."""

    def __init__(self, key: str, connect_s: float) -> None:
        """`key`: with which the client signs its requests. `connect_s`: time limit for connecting."""
        self._signature = _signature(key)
        self._timeout = ClientTimeout(sock_connect=connect_s)
        self._last: dict[str, _Recorded] = {}
        self._agreed: dict[str, _Agreed] = {}
        """By path."""

    def record(self, request: Request, head: bytes) -> None:
        """Called when a request of the SDK is written, with its head. One that was signed with an earlier key does not
        count.
        """
        path = request.url.raw_path
        found = _Recorded.of(request, head) if self._signature in head else None
        if found is None:
            self._last.pop(path, None)
        elif self._last.get(path) == found:
            self._agreed[path] = _Agreed.of(found, request)
        else:
            self._last[path] = found

    def use_key(self, key: str) -> None:
        """Let the SDK make the next requests: its key was changed."""
        self._signature = _signature(key)
        self._last.clear()
        self._agreed.clear()

    async def post(self, path: str, body: bytes, label: str) -> DirectResponse | None:
        """The response; None: the SDK has to make the call. Raises the errors of aiohttp."""
        agreed: _Agreed | None = None
        for full, found in self._agreed.items():
            if full.endswith(path):
                agreed = found
        if agreed is None or not body or not label.isascii() or not label.isprintable():
            return None
        connection = agreed.connector.take_idle(agreed.recorded.endpoint)
        if connection is None:
            connection = await self._connect(agreed)
        try:
            return await _exchange(connection, agreed.recorded.message(label, body))
        except BaseException:
            connection.close()
            raise

    async def _connect(self, agreed: _Agreed) -> Connection:
        try:
            return await agreed.connector.connect(agreed.request, traces=[], timeout=self._timeout)
        except TimeoutError as error:
            raise ConnectionTimeoutError(f"Connection timeout to host {agreed.request.url}") from error


def _signature(key: str) -> bytes:
    """What the head of a request that is signed with the key contains."""
    return f": Bearer {key}\r\n".encode()


async def _exchange(connection: Connection, message: bytes) -> DirectResponse:
    """Write the request, and read the head of its response, as aiohttp does."""
    protocol: Any = connection.protocol
    protocol.set_response_params(
        timer=_NO_TIMER,
        read_until_eof=True,
        auto_decompress=False,
        max_line_size=HEADER_BYTES,
        max_field_size=HEADER_BYTES,
        max_headers=HEADERS,
    )
    transport = protocol.transport
    if transport is None or transport.is_closing():
        raise ClientConnectionResetError("Cannot write to closing transport")
    transport.write(message)
    while True:
        head, content = await protocol.read()
        if not 100 <= head.code < 200 or head.code == HTTPStatus.SWITCHING_PROTOCOLS:
            return DirectResponse(connection, transport, head, content)


class DirectResponse:
    """A response as those of the HTTP libraries of the SDKs, as far as it is used."""

    def __init__(
        self,
        connection: Connection,
        transport: WriteTransport,
        head: RawResponseMessage,
        content: StreamReader,
    ) -> None:
        self._connection = connection
        self._transport = transport
        self._content = content
        self.status_code = head.code
        self.is_success = 200 <= head.code < 300
        self.headers: Mapping[str, str] = _merged(head.raw_headers)
        """By names in lower case."""

    async def aiter_raw(self) -> AsyncIterator[bytes]:
        """The pieces of the body. Raises the errors of aiohttp."""
        content: Any = self._content
        while piece := await read_received(content, _PIECE_BYTES):
            yield piece
            if content.at_eof():
                return

    async def aclose(self) -> None:
        if self._transport.get_write_buffer_size():  # the provider answered before it read the whole request
            self._connection.close()
        self._connection.release()  # which closes it before the end of the body


def _merged(raw: tuple[tuple[bytes, bytes], ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in raw:
        try:
            key, text = name.decode().lower(), value.decode()
        except UnicodeDecodeError:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found
