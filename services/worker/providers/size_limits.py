"""How large what a provider sends may be: no answer, however long, takes more of the worker's memory than this, or more
of the stream that all replies share.
"""

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
    "STREAM_BYTES",
    "WHOLE_BYTES",
    "Word",
    "clipped",
    "oversized",
    "read_into",
]

_MIB: Final = 1024 * 1024
WHOLE_BYTES: Final = 7 * _MIB
"""A whole answer, as its provider wrote it. It goes out in one message, which may have 8 MiB."""
EVENT_BYTES: Final = 4 * _MIB
"""One event of a stream; with what was gathered before it, 16 KiB, it may become one delta."""
STREAM_BYTES: Final = 16 * _MIB
"""What one attempt may publish of a streamed answer: text, and choices as they came. What the provider wraps around
the text does not count: it is dropped as it is read, and makes 300 bytes on the wire out of one token."""
ERROR_BYTES: Final = 64 * 1024
"""The body of an error: what lies beyond is not read."""
HEADER_BYTES: Final = 65 * 1024
"""One header of a response with its name, or the status line: a value of 64 KB is read."""
HEADERS: Final = 256
"""The headers of a response."""
MODELS_BYTES: Final = 4 * _MIB
"""The list of models."""
NAME_CHARACTERS: Final = 256
"""A name, or a word that programs compare."""
Word = Annotated[str, Meta(max_length=NAME_CHARACTERS)]
"""What programs compare, such as a finish reason."""


def clipped(name: str | None) -> str | None:
    """A name that goes into traces; None for an empty one."""
    return name[:NAME_CHARACTERS] if name else None


def oversized(what: str, most_bytes: int) -> ProviderFailure:
    return ProviderFailure("oversized", f"{what} has more than {most_bytes:,} bytes, the most there may be")


async def read_into(body: bytearray, pieces: AsyncIterator[bytes], most_bytes: int, what: str) -> None:
    """Read to the end. Raises ProviderFailure for more than `most_bytes`; `body` has what came until then."""
    async for piece in pieces:
        body += piece
        if len(body) > most_bytes:
            raise oversized(what, most_bytes)
