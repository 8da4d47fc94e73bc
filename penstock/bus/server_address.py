"""Addresses of NATS servers: several in one text, and the check of each before it is used."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

__all__ = ["is_server_address", "servers_of"]

_HOST: Final = r"([^\s/@]+@)?(\[[^\s/@\]]+\]|[^\s/:@\[\]]+)(:\d{1,5})?"
_ADDRESS: Final = re.compile(rf"((nats|tls)://)?{_HOST}/?|wss?://{_HOST}(/\S*)?")
"""Schemes in lower case, the only ones that nats-py knows; only a WebSocket address has a path."""


def servers_of(url: str) -> list[str]:
    """The servers in `url`, which separates them by commas; nats-py takes a list."""
    return [server.strip() for server in url.split(",")]


def is_server_address(text: str) -> bool:
    """Whether `text` is the address of one NATS server, such as `nats://host:4222`; the scheme may be left out."""
    if _ADDRESS.fullmatch(text) is None:
        return False
    try:
        _ = urlsplit(text if "://" in text else f"nats://{text}").port
    except ValueError:  # a port above 65535, or brackets without an IPv6 address
        return False
    return True
