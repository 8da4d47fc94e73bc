"""Request ids, which sort by time (UUIDv7, RFC 9562), and instance names."""

from __future__ import annotations

import os
import secrets
import socket
import time
from typing import Final

from penstock.contract.subjects import MAX_TOKEN_CHARACTERS, token

__all__ = ["instance_name", "new_id", "unix_ms_of"]


_VERSION_AND_VARIANT: Final = 7 << 76 | 2 << 62
_RANDOM: Final = (1 << 76) - 1 - (3 << 62)


def new_id(unix_ms: int | None = None) -> str:
    """A new UUIDv7: 48 bits of Unix milliseconds, 74 random bits. `unix_ms` None: the clock of this machine."""
    milliseconds = time.time_ns() // 1_000_000 if unix_ms is None else unix_ms
    random = int.from_bytes(os.urandom(10))  # 80 bits, of which the version and the variant replace six
    text = f"{milliseconds << 80 | random & _RANDOM | _VERSION_AND_VARIANT:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def unix_ms_of(request_id: str) -> int:
    """The time in a UUIDv7, Unix milliseconds. Raises ValueError for an id that is none."""
    return int(request_id.replace("-", "")[:12], 16)


def instance_name(service: str, chosen: str | None = None) -> str:
    """A name of this process that is unique over machines and restarts, and a valid subject token.

    `chosen` is the beginning of the name instead of service, host and process id. It alone would not do: two workers
    of one name would count each other's share of a quota as their own, and together exceed the limit.
    """
    random = secrets.token_hex(3)
    if chosen is not None:
        return f"{chosen[: MAX_TOKEN_CHARACTERS - len(random) - 1]}-{random}"
    return f"{service}-{token(socket.gethostname())[:24]}-{os.getpid()}-{random}"
