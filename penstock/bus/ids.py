"""Request ids, which sort by time (UUIDv7, RFC 9562), and instance names."""

from __future__ import annotations

import os
import secrets
import socket
import time

from penstock.contract.subjects import MAX_TOKEN_CHARACTERS, token

__all__ = ["instance_name", "new_id"]


def new_id() -> str:
    """A new UUIDv7: 48 bits of Unix milliseconds, 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    random = secrets.randbits(74)
    value = (milliseconds << 80) | (7 << 76) | ((random >> 62) << 64) | (2 << 62) | (random & ((1 << 62) - 1))
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def instance_name(service: str, chosen: str | None = None) -> str:
    """A name of this process that is unique over machines and restarts, and a valid subject token.

    `chosen` is the beginning of the name instead of service, host and process id. It alone would not do: two workers
    of one name would count each other's share of a quota as their own, and together exceed the limit.
    """
    random = secrets.token_hex(3)
    if chosen is not None:
        return f"{chosen[: MAX_TOKEN_CHARACTERS - len(random) - 1]}-{random}"
    return f"{service}-{token(socket.gethostname())[:24]}-{os.getpid()}-{random}"
