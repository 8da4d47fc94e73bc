"""The routes of the edge: which endpoint answers a method and a path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Struct

from services.edge.http.exchange import Exchange

__all__ = ["Endpoint", "ErrorBody", "Match", "Routes"]

Endpoint = Callable[[Exchange], Awaitable[None]]
ErrorBody = Callable[[int, str, str, str | None], bytes]
"""The body of an error response, from its status, code, message and parameter."""
_MOST_PARTS: Final = 8


class Match(Struct, frozen=True):
    """The result of a look-up."""

    route: str
    """The path of the route, such as `/v1/chat/completions/{id}`; `unknown` where there is none."""
    endpoint: Endpoint | None
    error: ErrorBody
    allowed: tuple[str, ...] = ()
    """The methods of this path, when the method of the request is none of them."""
    parameters: dict[str, str] = {}


class _Path(Struct, frozen=True):
    path: str
    error: ErrorBody
    endpoints: dict[str, Endpoint]

    def match(self, method: str, parameters: dict[str, str]) -> Match:
        endpoint = self.endpoints.get("GET" if method == "HEAD" else method)
        allowed = () if endpoint is not None else tuple(sorted(self.endpoints))
        return Match(self.path, endpoint, self.error, allowed, parameters)


class Routes:
    """Paths are exact, or have parts in braces: `{id}` matches one part of a path, `{id...}` at the end all the rest.
    Exact paths go first.
    """

    def __init__(self, error: ErrorBody) -> None:
        """`error`: for paths without a route."""
        self._error = error
        self._exact: dict[str, _Path] = {}
        self._patterns: dict[tuple[str, ...], _Path] = {}

    def add(self, method: str, path: str, endpoint: Endpoint, error: ErrorBody | None = None) -> None:
        """`error` is that of the dialect; every method of a path has the same."""
        added = _Path(path, error or self._error, {})
        if "{" in path:
            added = self._patterns.setdefault(tuple(path.split("/")), added)
        else:
            added = self._exact.setdefault(path, added)
        added.endpoints[method] = endpoint

    def find(self, method: str, path: str) -> Match:
        exact = self._exact.get(path)
        if exact is not None:
            return exact.match(method, {})
        parts = path.split("/", _MOST_PARTS)  # further ones stay together in the last
        for pattern, found in self._patterns.items():
            parameters = _parameters(pattern, parts)
            if parameters is not None:
                return found.match(method, parameters)
        return Match("unknown", None, self._error)


def _parameters(pattern: tuple[str, ...], parts: list[str]) -> dict[str, str] | None:
    size = len(pattern) - 1
    if pattern[-1].endswith("...}") and len(parts) > size:
        parts = [*parts[:size], "/".join(parts[size:])]
    if len(pattern) != len(parts):
        return None
    parameters = {}
    for expected, part in zip(pattern, parts, strict=True):
        if expected.startswith("{"):
            parameters[expected.strip("{.}")] = part
        elif expected != part:
            return None
    return parameters
