"""The HTTP connections under both SDKs: what aiohttp and httpx would do otherwise by themselves.

- No cookies. What a provider sets for one request would go out with those of other tenants, and one cookie that is no
  ASCII would break every later request of the client.
- A connection on which anything came while it was idle is closed. aiohttp gives such bytes to the next request as its
  answer, which may be the answer of another one (RFC 9112, 9.2: a response without a request is not to be used).
- A body that says nothing of its length ends with the connection. Where that was reset, the body was cut.
- Headers may be longer than aiohttp's 8 KB: Azure's and Cloudflare's cookies, policies and traces grow beyond that.
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

__all__ = ["NoCookies", "prepare"]

_UNLIMITED: Final = 0
"""Of connections, as aiohttp writes it."""


class NoCookies(CookieJar):
    """Takes none and gives none, without looking at them."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        pass

    def add_cookie_header(self, request: Any) -> None:
        pass

    def set_cookie(self, cookie: Cookie) -> None:
        pass


def prepare(http_client: Any) -> None:
    """Let a client of either SDK, one of httpx's over aiohttp, use these connections, over proxies as well.

    The transport makes its session when it is first used, or asks the function that stands in its place.
    """
    # httpx has no public name for its transports, and one given to it would switch off the proxies of the environment.
    for transport in (http_client._transport, *http_client._mounts.values()):  # noqa: SLF001
        if transport is not None:
            transport.client = _Sessions(transport)


class _Sessions:
    """Makes the session of a transport as the transport itself would, but for the above."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def __call__(self) -> ClientSession:
        limits = self._transport.limits
        connector = _Connector(
            keepalive_timeout=limits.keepalive_expiry,
            ssl=self._transport.ssl_context,
            limit=limits.max_connections or _UNLIMITED,
        )
        return ClientSession(
            connector=connector,
            cookie_jar=DummyCookieJar(),
            max_line_size=HEADER_BYTES,
            max_field_size=HEADER_BYTES,
            max_headers=HEADERS,
        )


class _Protocol(ResponseHandler):
    """Tells a body that ended from one whose connection broke."""

    def connection_lost(self, exc: BaseException | None) -> None:
        payload = self._payload
        if exc is not None and payload is not None and not payload.is_eof():
            payload.set_exception(ClientPayloadError(f"the connection broke inside the answer: {exc}"), exc)
        super().connection_lost(exc)


class _Connector(TCPConnector):
    """Hands out connections on which nothing came since the end of their last answer."""

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
    """Asked once a call, of what aiohttp has noted anyway: nothing is added to the reading of answers."""
    if protocol is None or protocol.should_close:
        return False
    parser: Any = protocol._parser  # noqa: SLF001 - of the last answer; the next one gets a parser of its own
    if parser is None:
        return True
    try:
        return parser.feed_eof() is None  # anything else is the beginning of a response
    except Exception:  # noqa: BLE001 - a beginning that is no response
        return False
