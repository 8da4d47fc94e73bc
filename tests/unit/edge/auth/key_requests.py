"""Requests with an API key, without a connection."""

from __future__ import annotations

from typing import Any

from penstock.bus.clock import SYSTEM
from penstock.contract.keys import ApiKey
from penstock.runtime.api_keys.format import digest, prefix_of
from penstock.runtime.byte_budget import ByteBudget
from services.edge.http.connection import STATE_KEY
from services.edge.http.exchange import Exchange, HttpLimits
from services.edge.http.headers import Header

__all__ = ["bearer", "received", "record_of"]

LIMITS = HttpLimits(body_bytes=1_000, body_s=1, write_s=1, memory=ByteBudget(0))


def received(
    *headers: Header,
    path: str = "/v1/chat/completions",
    query: bytes = b"",
    hosts: tuple[str, ...] = ("127.0.0.1:8080",),
) -> Exchange:
    """A request of which the head has arrived."""
    scope = {
        "method": "POST",
        "path": path,
        "query_string": query,
        "headers": [*((b"host", host.encode()) for host in hosts), *headers],
        "state": {STATE_KEY: None},
    }
    unused: Any = None
    return Exchange(scope, unused, unused, LIMITS, SYSTEM)


def bearer(key: str) -> Header:
    return b"authorization", f"Bearer {key}".encode()


def record_of(key: str, **fields: Any) -> ApiKey:
    prefix = prefix_of(key)
    assert prefix is not None
    return ApiKey(**{"prefix": prefix, "sha256": digest(key), "account": "shop", "created_ms": 0, **fields})
