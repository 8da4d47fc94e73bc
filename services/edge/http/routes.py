"""The routes of the edge: which endpoint answers a method and a path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from difflib import get_close_matches
from typing import Final

from msgspec import Struct

from services.edge.http.exchange import Exchange
from services.edge.http.operation import Operation

__all__ = ["Endpoint", "Match", "Routes"]

Endpoint = Callable[[Exchange], Awaitable[None]]
_MOST_PARTS: Final = 8
_LONGEST_PATH: Final = 100
_ALIKE: Final = 0.8


class Match(Struct, frozen=True):
    """The result of a look-up."""

    route: str
    """The path of the route, such as `/v1/chat/completions/{id}`; `unknown` where there is none."""
    endpoint: Endpoint | None
    allowed: tuple[str, ...] = ()
    """The methods of this path, when the method of the request is none of them."""
    parameters: dict[str, str] = {}


class _Path(Struct, frozen=True):
    path: str
    endpoints: dict[str, Endpoint]

    def match(self, method: str, parameters: dict[str, str]) -> Match:
        endpoint = self.endpoints.get("GET" if method == "HEAD" else method)
        allowed = () if endpoint is not None else tuple(sorted(self.endpoints))
        return Match(self.path, endpoint, allowed, parameters)


class Routes:
    """Paths are exact, or have parts in braces: `{id}` matches one part of a path, `{id...}` at the end all the rest.
    Exact paths go first.

    A route is added with its description, of which the OpenAPI document is made, so that no route can lack one.
    """

    def __init__(self, unknown: Endpoint | None = None) -> None:
        """`unknown`: answers requests of all other paths."""
        self._unknown = unknown
        self._exact: dict[str, _Path] = {}
        self._patterns: dict[tuple[str, ...], _Path] = {}
        self.operations: list[Operation] = []
        """In the order in which they were added."""

    def add(self, operation: Operation, endpoint: Endpoint) -> None:
        path = operation.path
        added = _Path(path, {})
        if "{" in path:
            added = self._patterns.setdefault(tuple(path.split("/")), added)
        else:
            added = self._exact.setdefault(path, added)
        added.endpoints[operation.method] = endpoint
        self.operations.append(operation)

    def find(self, method: str, path: str) -> Match:
        """A slash at the end of `path` counts for nothing."""
        path = path.rstrip("/")
        exact = self._exact.get(path)
        if exact is not None:
            return exact.match(method, {})
        parts = path.split("/", _MOST_PARTS)  # further ones stay together in the last
        for pattern, found in self._patterns.items():
            parameters = _parameters(pattern, parts)
            if parameters is not None:
                return found.match(method, parameters)
        return Match("unknown", self._unknown)

    def similar(self, method: str, path: str) -> str | None:
        """A path that has a route and is like `path`, which has none; the usual mistake is `/v1` in a base address."""
        for near in (f"/v1{path}", path.replace("/v1/v1/", "/v1/", 1)):
            if self.find(method, near).endpoint is not None:
                return near
        return next(iter(get_close_matches(path[:_LONGEST_PATH], self._exact, n=1, cutoff=_ALIKE)), None)


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
