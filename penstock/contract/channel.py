"""One channel of the contract, and how its limits are written."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from penstock.contract.streams import MAX_PAYLOAD_BYTES

__all__ = ["MESSAGE_LIMIT", "Channel", "duration", "size"]


class Channel(Struct, frozen=True, kw_only=True):
    """One kind of subject or key."""

    name: str
    subject: str
    messages: tuple[type[Struct], ...]
    delivery: Literal["work queue", "stored and live", "stored", "live", "request/reply", "key-value"]
    stream: str | None = None
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    limits: str
    purpose: str


def duration(seconds: int) -> str:
    if seconds % 86_400 == 0 and seconds > 2 * 86_400:
        return f"{seconds // 86_400} days"
    if seconds % 3_600 == 0:
        return f"{seconds // 3_600} hours"
    return f"{seconds // 60} minutes" if seconds % 60 == 0 else f"{seconds} seconds"


def size(bytes_: int) -> str:
    return f"{bytes_ // (1024 * 1024)} MiB"


MESSAGE_LIMIT: Final = f"{size(MAX_PAYLOAD_BYTES)} per message"
