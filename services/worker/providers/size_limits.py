"""Limits on the size of provider data, which bound the worker's memory and the space taken in the reply stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Final

from msgspec import Meta

from services.worker.providers.errors.failures import ProviderFailure

__all__ = [
    "ERROR_BYTES",
    "EVENT_BYTES",
    "HEADERS",
    "HEADER_BYTES",
    "MODELS_BYTES",
    "NAME_CHARACTERS",
    "SHORTER",
    "STREAM_BYTES",
    "STREAM_OR_SHORTER",
    "WHOLE_BYTES",
    "Name",
    "clip_name",
    "oversized",
    "read_into",
]

_MIB: Final = 1024 * 1024
WHOLE_BYTES: Final = 7 * _MIB
"""Limit of a whole completion as the provider sent it. It is published as one message of at most 8 MiB."""
EVENT_BYTES: Final = 4 * _MIB
"""Limit of one stream event. Together with 16 KiB of coalesced text it may become one delta."""
STREAM_BYTES: Final = 16 * _MIB
"""Limit of the text and choice objects that one attempt may publish. The envelope of a chunk, about 300 bytes on the
wire for one token, is discarded and does not count."""
SHORTER: Final = ": lower max_tokens, or ask for less at once"
STREAM_OR_SHORTER: Final = f": set stream, for which it is {STREAM_BYTES:,}, or lower max_tokens"
"""What helps against an answer above `WHOLE_BYTES`."""
ERROR_BYTES: Final = 64 * 1024
"""Limit of an error body; the rest is not read."""
HEADER_BYTES: Final = 65 * 1024
"""Limit of the status line, and of one response header with its name; a value of 64 KB fits."""
HEADERS: Final = 256
"""Limit on the number of response headers."""
MODELS_BYTES: Final = 4 * _MIB
"""Limit of a model list."""
NAME_CHARACTERS: Final = 256
"""Limit of a model name, an id or a finish reason."""
Name = Annotated[str, Meta(max_length=NAME_CHARACTERS)]


def clip_name(name: str | None) -> str | None:
    """A name cut to a length suitable for traces; None for an empty one."""
    return name[:NAME_CHARACTERS] if name else None


def oversized(what: str, limit_bytes: int, advice: str = "") -> ProviderFailure:
    """`advice`: what a sender can change, as the end of a sentence."""
    return ProviderFailure(
        "oversized", f"{what} has more than {limit_bytes:,} bytes, which is the limit{advice}"
    )


async def read_into(
    body: bytearray, pieces: AsyncIterator[bytes], limit_bytes: int, what: str, advice: str = ""
) -> None:
    """Append all `pieces` to `body`. Raises ProviderFailure at more than `limit_bytes`, with the excess in `body`."""
    async for piece in pieces:
        body += piece
        if len(body) > limit_bytes:
            raise oversized(what, limit_bytes, advice)
