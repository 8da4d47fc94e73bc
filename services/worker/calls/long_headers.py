"""Response headers longer than aiohttp accepts by default, which is 8 KB each.

Azure's and Cloudflare's cookies, policies and traces grow beyond that; the SDKs' transport has no setting for it.
"""

from __future__ import annotations

from typing import Any, Final

from aiohttp import ClientSession, TCPConnector

from services.worker.calls.bounds import HEADER_BYTES, HEADERS

__all__ = ["take_long_headers"]

_UNLIMITED: Final = 0
"""Of connections, as aiohttp writes it."""


def take_long_headers(http_client: Any) -> None:
    """Let a client of either SDK, one of httpx's over aiohttp, take long headers, over proxies as well.

    The transport makes its session when it is first used, or asks the function that stands in its place.
    """
    # httpx has no public name for its transports, and one given to it would switch off the proxies of the environment.
    for transport in (http_client._transport, *http_client._mounts.values()):  # noqa: SLF001
        if transport is not None:
            transport.client = _Sessions(transport)


class _Sessions:
    """Makes the session of a transport as the transport itself would, but for the limits."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def __call__(self) -> ClientSession:
        limits = self._transport.limits
        connector = TCPConnector(
            keepalive_timeout=limits.keepalive_expiry,
            ssl=self._transport.ssl_context,
            limit=limits.max_connections or _UNLIMITED,
        )
        return ClientSession(
            connector=connector, max_line_size=HEADER_BYTES, max_field_size=HEADER_BYTES, max_headers=HEADERS
        )
