"""What a worker and its counting process say to each other: frames of a length in four bytes and MessagePack."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

__all__ = ["LENGTH_BYTES", "Counted", "Produced", "ToCount", "decode_counted", "decode_question", "frame"]

LENGTH_BYTES: Final = 4


class Produced(Struct, frozen=True, array_like=True):
    """What a model wrote."""

    text: bytes = b""
    """UTF-8."""
    choices: list[bytes] = []
    """Choice objects without that text."""


class ToCount(Struct, frozen=True, array_like=True):
    """One attempt. None: not to be counted."""

    model: str
    """The provider's name for it."""
    body: bytes | None
    produced: Produced | None


class Counted(Struct, frozen=True, array_like=True):
    """The tokens; None where nothing was to be counted, or where it could not be read."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    error: str = ""
    """Why no vocabulary can be loaded; empty: it was."""


_encode: Final = msgspec.msgpack.Encoder().encode
decode_question: Final = msgspec.msgpack.Decoder(ToCount).decode
decode_counted: Final = msgspec.msgpack.Decoder(Counted).decode


def frame(message: ToCount | Counted) -> bytes:
    data = _encode(message)
    return len(data).to_bytes(LENGTH_BYTES, "big") + data
