"""Routes: exact paths, parts of paths, methods."""

from __future__ import annotations

from typing import Literal

import pytest

from services.edge.http.exchange import Exchange
from services.edge.http.operation import Operation
from services.edge.http.routes import Routes


async def endpoint(exchange: Exchange) -> None:
    """Never called."""


async def other(exchange: Exchange) -> None:
    """Never called."""


def operation(method: Literal["GET", "POST", "DELETE"], path: str) -> Operation:
    return Operation(method=method, path=path, id=f"{method} {path}", group="", summary="")


@pytest.fixture
def routes() -> Routes:
    made = Routes()
    made.add(operation("POST", "/v1/chat"), endpoint)
    made.add(operation("GET", "/v1/chat/{id}"), other)
    made.add(operation("POST", "/v1/chat/{id}/cancel"), endpoint)
    made.add(operation("GET", "/v1/models/{id...}"), other)
    return made


@pytest.mark.parametrize(
    ("method", "path", "route", "found", "parameters"),
    [
        ("POST", "/v1/chat", "/v1/chat", endpoint, {}),
        ("GET", "/v1/chat/a-1", "/v1/chat/{id}", other, {"id": "a-1"}),
        ("HEAD", "/v1/chat/a-1", "/v1/chat/{id}", other, {"id": "a-1"}),
        ("POST", "/v1/chat/a/cancel", "/v1/chat/{id}/cancel", endpoint, {"id": "a"}),
        ("GET", "/v1/models/x", "/v1/models/{id...}", other, {"id": "x"}),
        ("GET", "/v1/models/meta/llama/4", "/v1/models/{id...}", other, {"id": "meta/llama/4"}),
    ],
)
def test_k2_a_route_is_found(
    routes: Routes, method: str, path: str, route: str, found: object, parameters: object
):
    match = routes.find(method, path)
    assert (match.route, match.endpoint, match.parameters) == (route, found, parameters)
    assert match.allowed == ()


@pytest.mark.parametrize(
    "path", ["", "/", "/v1", "/v1/chat/", "/v1/chat/a/b", "/v1/models", "/v1/models/", "//", "/" * 10_000]
)
def test_k2_another_path_is_unknown(routes: Routes, path: str):
    match = routes.find("GET", path)
    if path == "/v1/chat/":
        assert (match.route, match.allowed) == ("/v1/chat", ("POST",))
    else:
        assert (match.route, match.endpoint, match.allowed) == ("unknown", None, ())


def test_k2_another_method_is_told_which_are_allowed(routes: Routes):
    routes.add(operation("DELETE", "/v1/chat"), endpoint)
    match = routes.find("PUT", "/v1/chat")
    assert (match.endpoint, match.allowed) == (None, ("DELETE", "POST"))


def test_k2_every_route_has_a_description(routes: Routes):
    assert [each.id for each in routes.operations] == [
        *("POST /v1/chat", "GET /v1/chat/{id}", "POST /v1/chat/{id}/cancel", "GET /v1/models/{id...}"),
    ]


def test_k2_a_slash_at_the_end_counts_for_nothing(routes: Routes):
    assert routes.find("POST", "/v1/chat/") == routes.find("POST", "/v1/chat")
    assert routes.find("GET", "/v1/chat/a-1/") == routes.find("GET", "/v1/chat/a-1")


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("/chat", "/v1/chat"),
        ("/v1/v1/chat", "/v1/chat"),
        ("/v1/chta", "/v1/chat"),
        ("/", None),
        ("/v1/credits", None),
        ("/" * 10_000, None),
    ],
)
def test_k2_an_unknown_path_has_the_one_that_is_meant(routes: Routes, path: str, near: str | None):
    assert routes.similar("POST", path) == near
