"""The settings of the edge, from PENSTOCK_EDGE_* variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from msgspec import Struct

from penstock.contract.streams import MAX_BODY_BYTES
from penstock.runtime.config.problems import ConfigurationRefused
from penstock.runtime.config.settings import SOURCE, EnvironmentReader

__all__ = ["EdgeSettings", "load_edge_settings"]

KeyPolicy = Literal["optional", "required"]


class EdgeSettings(Struct, frozen=True, kw_only=True):
    """The settings that only the edge has."""

    host: str = "127.0.0.1"
    port: int = 8080
    """0: any free port."""
    body_bytes: int = 32 * 1024 * 1024
    """The largest body of a request; Anthropic's limit for one."""
    header_bytes: int = 32 * 1024
    """The largest head of a request: its request line and headers."""
    read_s: float = 30.0
    """To receive the head of a request, and the same again for its body."""
    write_s: float = 60.0
    """Without the client reading anything, after which its connection is closed."""
    wait_s: float = 2.0
    """How long a streamed request waits before its status is sent and comments begin."""
    keys: KeyPolicy = "optional"
    """`required`: an API key is needed even if none exists, so that a lost bucket does not open the edge."""
    key_requests: int = 500
    """Requests in progress with one API key."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call this edge; `*`: all."""


def load_edge_settings(env: Mapping[str, str]) -> EdgeSettings:
    """The settings in `env`; an empty variable counts as not set.

    Raises ConfigurationRefused with every mistake in it.
    """
    reader, usual = EnvironmentReader(env), EdgeSettings()
    settings = EdgeSettings(
        host=env.get("PENSTOCK_EDGE_HOST") or usual.host,
        port=reader.port("PENSTOCK_EDGE_PORT", usual.port),
        body_bytes=reader.whole("PENSTOCK_EDGE_BODY_BYTES", usual.body_bytes, low=1_024, high=MAX_BODY_BYTES),
        header_bytes=reader.whole(
            "PENSTOCK_EDGE_HEADER_BYTES", usual.header_bytes, low=1_024, high=1_048_576
        ),
        read_s=reader.number("PENSTOCK_EDGE_READ_S", usual.read_s, low=0.1, high=3_600),
        write_s=reader.number("PENSTOCK_EDGE_WRITE_S", usual.write_s, low=0.1, high=3_600),
        wait_s=reader.number("PENSTOCK_EDGE_WAIT_S", usual.wait_s, low=0, high=3_600),
        keys=reader.choice("PENSTOCK_EDGE_KEYS", usual.keys, get_args(KeyPolicy)),
        key_requests=reader.whole("PENSTOCK_EDGE_KEY_REQUESTS", usual.key_requests, low=1, high=1_000_000),
        cors_origins=tuple((env.get("PENSTOCK_EDGE_CORS_ORIGINS") or "").replace(",", " ").split()),
    )
    if reader.problems:
        raise ConfigurationRefused(SOURCE, reader.problems)
    return settings
