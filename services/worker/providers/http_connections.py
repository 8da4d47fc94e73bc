"""The HTTP connections of both SDKs. They differ from the defaults of aiohttp and httpx:

- Cookies are ignored. A provider's cookie would otherwise be sent with the requests of other tenants, and a cookie that
  is not ASCII would break all later requests of the client.
- A connection that received data while idle is closed. aiohttp would return that data as the response to the next
  request, although it may answer another one (RFC 9112, 9.2: a response without a request must not be used).
- A connection whose provider answered before it read the whole request is closed at once, and the rest not sent.
- A connection is not used after a 101 response, with or without the header Upgrade.
- A request is sent on another connection if the provider has closed the idle one before the first byte was written.
  aiohttp would raise an error. A request of which a byte may have been sent is never repeated.
- A body without a length ends with the connection. If the connection was reset, the body is truncated: an error.
- Headers may exceed aiohttp's limit of 8 KB, as Azure's and Cloudflare's cookies, policies and traces do.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.cookiejar import Cookie, CookieJar
from time import monotonic
from typing import Any, Final

from aiohttp import (
    ClientError,
    ClientHandlerType,
    ClientPayloadError,
    ClientRequest,
    ClientResponse,
    ClientSession,
    DummyCookieJar,
    ServerDisconnectedError,
    StreamReader,
    TCPConnector,
)
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage

from services.worker.providers.host_names import HostNames
from services.worker.providers.size_limits import HEADER_BYTES, HEADERS

__all__ = ["Connector", "NoCookies", "Record", "Request", "configure_connections", "read_received"]

_UNLIMITED: Final = 0
"""aiohttp's value for an unlimited number of connections."""


class NoCookies(CookieJar):
    """Neither stores nor sends cookies."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        pass

    def add_cookie_header(self, request: Any) -> None:
        pass

    def set_cookie(self, cookie: Cookie) -> None:
        pass


def configure_connections(http_client: Any, record: Record) -> None:
    """Make an SDK's HTTP client (httpx on aiohttp) use these connections, with and without a proxy.

    `record` is called with each request that has a body, when it is written. A transport creates its session at first
    use, or calls the function in its `client` attribute.
    """
    # httpx has no public access to its transports, and an explicit transport would disable the environment's proxies.
    for transport in (http_client._transport, *http_client._mounts.values()):  # noqa: SLF001
        if transport is not None:
            transport.client = partial(_new_session, transport, record)


def _new_session(transport: Any, record: Record) -> ClientSession:
    """The session that the transport itself would create, with the changes above."""
    connector = Connector(
        keepalive_timeout=transport.limits.keepalive_expiry,
        ssl=transport.ssl_context,
        limit=transport.limits.max_connections or _UNLIMITED,
        resolver=HostNames(),
    )
    return ClientSession(
        connector=connector,
        request_class=Request,
        middlewares=(partial(_send_once, record),),
        cookie_jar=DummyCookieJar(),
        max_line_size=HEADER_BYTES,
        max_field_size=HEADER_BYTES,
        max_headers=HEADERS,
    )


Record = Callable[["Request", bytes], None]
"""Takes a request and its head."""


class Request(ClientRequest):
    """Is not written to a reused connection that the provider has closed or sent data on."""

    unsent = False
    """No byte was written, and another connection may accept the request."""
    record: Record | None = None

    async def send(self, conn: Connection) -> ClientResponse:
        self.unsent = bool(self.body) and getattr(conn.protocol, "reused", False)
        return await super().send(conn)

    async def write_bytes(
        self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
    ) -> None:
        # aiohttp writes nothing before this, and between this check and the first byte the event loop does not run.
        if self.unsent and not _is_idle(conn.protocol):
            if conn.protocol is not None:
                conn.protocol.set_exception(ServerDisconnectedError())
            return
        self.unsent = False
        head: bytes | None = getattr(writer, "_headers_buf", None)
        if self.record is not None and head is not None:
            self.record(self, head)
        await super().write_bytes(writer, conn, content_length)


async def _send_once(record: Record, request: Any, handler: ClientHandlerType) -> ClientResponse:
    """Send a `Request` on the first connection that can be used. Each that cannot is closed; a new one is not checked,
    so the last of them is sent.
    """
    request.record = record
    while True:
        request.unsent = False
        try:
            response = await handler(request)
        except ClientError:
            if not request.unsent:
                raise
        else:
            if not request.unsent:
                return response
            response.close()  # it came before the request


class _Protocol(ResponseHandler):
    """Reports an error for a body whose connection was reset, and ends with a 101 response."""

    reused = False
    """A request was sent on the connection before."""
    received: select.poll
    """Tells whether the socket has data, or was closed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.received = select.poll()
        self.received.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        if data[0].code == HTTPStatus.SWITCHING_PROTOCOLS:  # what follows is not HTTP/1.1 (RFC 9110, 15.2.2)
            self.force_close()
        super().feed_data(data, size)

    def close(self) -> None:
        """Without waiting until the provider has read the rest of a request, which it may never do."""
        if self.transport is not None and self.transport.get_write_buffer_size():
            self.transport.abort()
        super().close()

    def connection_lost(self, exc: BaseException | None) -> None:
        payload = self._payload
        if exc is not None and payload is not None and not payload.is_eof():
            payload.set_exception(ClientPayloadError(f"the connection broke inside the response: {exc}"), exc)
        super().connection_lost(exc)


class Connector(TCPConnector):
    """Reuses only connections without data after the end of their last response."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        factory: Any = partial(_Protocol, loop=asyncio.get_running_loop())
        self._factory = factory

    async def _get(self, key: Any, traces: Any) -> Connection | None:
        connection = await super()._get(key, traces)
        while connection is not None and not _is_clean(connection.protocol):
            connection.close()
            connection = await super()._get(key, traces)
        if connection is not None:
            protocol: Any = connection.protocol
            protocol.reused = True
        return connection

    def take_idle(self, key: Any) -> Connection | None:
        """An open connection of the pool, to be written to at once: no other check is needed until the event loop runs
        again. None: there is none, or the next one has to be closed; `connect` does that and returns another.
        """
        idle = self._conns.get(key)
        if not idle:
            return None
        protocol, since_s = idle[0]
        kept_s = self._keepalive_timeout
        if (kept_s is not None and monotonic() - since_s > kept_s) or not _is_clean(protocol):
            return None
        idle.popleft()
        if not idle:
            del self._conns[key]
        self._acquired.add(protocol)
        return Connection(self, key, protocol, self._loop)


async def read_received(content: Any, most: int) -> bytes:
    """What was received of a body, as `StreamReader.read(most)`; empty at its end.

    aiohttp takes each HTTP chunk, which is a token, from its buffer by itself, and calls its parser each time. That is
    needed only where reading was paused.
    """
    if type(content) is not StreamReader:  # that of a response without a body, as after a 101
        return bytes(await content.read(most))
    buffer = content._buffer  # noqa: SLF001 - aiohttp has no public access to all of it at once
    while not buffer and not content._eof and content._exception is None:  # noqa: SLF001
        await content._wait("read")  # noqa: SLF001
    is_plain = content._exception is None and not content._buffer_offset  # noqa: SLF001
    if not is_plain or not 0 < content._size <= most or content._protocol._reading_paused:  # noqa: SLF001
        return bytes(await content.read(most))
    data = b"".join(buffer)
    buffer.clear()
    content._size = 0  # noqa: SLF001
    content._cursor += len(data)  # noqa: SLF001
    if content._http_chunk_splits:  # noqa: SLF001
        content._http_chunk_splits.clear()  # noqa: SLF001
    return data


def _is_clean(protocol: ResponseHandler | None) -> bool:
    """Whether no data followed the last response. It is checked once per call, at no cost while a response is read."""
    if protocol is None or not _is_idle(protocol):
        return False
    parser: Any = protocol._parser  # noqa: SLF001 - the parser of the last response; each has its own
    if parser is None:
        return True
    try:
        return parser.feed_eof() is None  # any other value is the beginning of a response
    except Exception:  # noqa: BLE001 - data that is not a response
        return False


def _is_idle(protocol: Any) -> bool:
    """Whether the connection is open and has received nothing, including what the event loop has not read yet."""
    if (
        protocol is None
        or protocol.should_close
        or protocol.transport is None
        or protocol.transport.is_closing()
    ):
        return False
    return not protocol.received.poll(0)
