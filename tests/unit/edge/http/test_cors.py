"""Cross-origin requests."""

from __future__ import annotations

import pytest

from services.edge.http.cors import Cors


@pytest.mark.parametrize("origin", ["", "https://a.example"])
def test_without_origins_there_are_no_headers(origin: str):
    assert Cors(()).headers(origin) == []
    assert not Cors(()).allows(origin)


def test_a_configured_origin_is_allowed_and_caches_are_told():
    headers = dict(
        Cors(("https://a.example", "https://b.example"), ("x-a", "x-b")).headers("https://b.example")
    )
    assert headers[b"access-control-allow-origin"] == b"https://b.example"
    assert headers[b"vary"] == b"origin"
    assert headers[b"access-control-expose-headers"] == b"x-a, x-b, retry-after, x-should-retry"
    assert b"access-control-allow-credentials" not in headers


@pytest.mark.parametrize("origin", ["https://c.example", "null", "https://a.example.evil.example"])
def test_another_origin_is_not_allowed(origin: str):
    cors = Cors(("https://a.example",))
    assert dict(cors.headers(origin)) == {b"vary": b"origin"}
    assert not cors.allows(origin)


def test_a_star_allows_every_origin():
    assert dict(Cors(("*",)).headers("https://c.example"))[b"access-control-allow-origin"] == b"*"
    assert Cors(("*",)).allows("https://c.example")


def test_a_preflight_allows_what_the_browser_asked_for():
    headers = dict(Cors(("*",)).preflight(("POST",), "authorization, x-penstock-rescue"))
    assert headers[b"access-control-allow-methods"] == b"POST"
    assert headers[b"access-control-allow-headers"] == b"authorization, x-penstock-rescue"
