"""Cross-origin requests of browsers (Fetch Standard, "HTTP-CORS protocol"); off without configured origins."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from services.edge.http.headers import Header

__all__ = ["Cors"]

_ANY: Final = "*"
_RETRY: Final = ("retry-after", "x-should-retry")
_PREFLIGHT_S: Final = 600
"""How long a browser may remember the answer to a preflight request."""


class Cors:
    """Credentials are API keys in a header and never cookies, so `access-control-allow-credentials` is not sent."""

    def __init__(self, origins: Collection[str], exposed: Collection[str] = ()) -> None:
        """`*` stands for every origin. `exposed`: response headers that a page may read, beside those on retries."""
        self._origins = frozenset(origins)
        self._exposed = ", ".join((*exposed, *_RETRY)).encode()

    def headers(self, origin: str) -> list[Header]:
        """For every response to a request with this `origin`; empty: it has none, or it is not allowed."""
        if not origin or not self._origins:
            return []
        vary = [] if _ANY in self._origins else [(b"vary", b"origin")]
        if not self._origins & {origin, _ANY}:
            return vary
        allowed = _ANY if _ANY in self._origins else origin
        return [
            (b"access-control-allow-origin", allowed.encode("latin-1")),
            (b"access-control-expose-headers", self._exposed),
            *vary,
        ]

    def preflight(self, methods: Collection[str], requested_headers: str) -> list[Header]:
        """Further headers for the answer to a preflight request."""
        return [
            (b"access-control-allow-methods", ", ".join(methods).encode()),
            (b"access-control-allow-headers", requested_headers.encode("latin-1")),
            (b"access-control-max-age", b"%d" % _PREFLIGHT_S),
        ]

    def allows(self, origin: str) -> bool:
        return bool(origin) and bool(self._origins & {origin, _ANY})
