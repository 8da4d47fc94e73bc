"""The HTTP connections of both SDKs. They differ from the defaults of aiohttp and httpx:

- Cookies are ignored. A provider's cookie would otherwise be sent with the requests of other tenants, and a cookie that
  is not ASCII would break all later requests of the client.
- A connection that received data while idle is closed. aiohttp would return that data as the response to the next
  request, although it may answer another one (RFC 9112, 9.2: a response without a request must not be used).
- A body without a length ends with the connection. If the connection was reset, the body is truncated: an error.
- Headers may exceed aiohttp's limit of 8 KB, as Azure's and Cloudflare's cookies, policies and traces do.
"""

from __future__ import annotations

import asyncio
from functools import partial
from http.cookiejar import Cookie, CookieJar
from typing import Any, Final

from aiohttp import ClientPayloadError, ClientSession, DummyCookieJar, TCPConnector
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

from services.worker.providers.size_limits import HEADER_BYTES, HEADERS

__all__ = ["NoCookies", "configure_connections"]

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


def configure_connections(http_client: Any) -> None:
    """Make an SDK's HTTP client (httpx on aiohttp) use these connections, with and without a proxy.

    A transport creates its session at first use, or calls the function in its `client` attribute.
    """
    # httpx has no public access to its transports, and an explicit transport would disable the environment's proxies.
    for transport in (http_client._transport, *http_client._mounts.values()):  # noqa: SLF001
        if transport is not None:
            transport.client = partial(_new_session, transport)


def _new_session(transport: Any) -> ClientSession:
    """The session that the transport itself would create, with the changes above."""
    connector = _Connector(
        keepalive_timeout=transport.limits.keepalive_expiry,
        ssl=transport.ssl_context,
        limit=transport.limits.max_connections or _UNLIMITED,
    )
    return ClientSession(
        connector=connector,
        cookie_jar=DummyCookieJar(),
        max_line_size=HEADER_BYTES,
        max_field_size=HEADER_BYTES,
        max_headers=HEADERS,
    )


class _Protocol(ResponseHandler):
    """Reports an error for a body whose connection was reset."""

    def connection_lost(self, exc: BaseException | None) -> None:
        payload = self._payload
        if exc is not None and payload is not None and not payload.is_eof():
            payload.set_exception(ClientPayloadError(f"the connection broke inside the response: {exc}"), exc)
        super().connection_lost(exc)


class _Connector(TCPConnector):
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
        return connection


def _is_clean(protocol: ResponseHandler | None) -> bool:
    """Whether no data followed the last response. It is checked once per call, at no cost while a response is read."""
    if protocol is None or protocol.should_close:
        return False
    parser: Any = protocol._parser  # noqa: SLF001 - the parser of the last response; each has its own
    if parser is None:
        return True
    try:
        return parser.feed_eof() is None  # any other value is the beginning of a response
    except Exception:  # noqa: BLE001 - data that is not a response
        return False
