"""What the indexer and a reading process say to each other: a message in MessagePack, followed by pieces of bytes.

Each piece has its length before it, and an empty one is the last. In pieces, because both sides read and write large
texts a little at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import Struct

from services.indexer.documents.decoding import without_surrogates
from services.indexer.documents.detection import Detected
from services.indexer.documents.document import Extracted, RefusalKind

__all__ = [
    "EXIT_WITHOUT_MEMORY",
    "LENGTH_BYTES",
    "Answer",
    "Refusal",
    "Task",
    "decode_answer",
    "decode_task",
    "framed",
    "pieces",
]

LENGTH_BYTES: Final = 4
EXIT_WITHOUT_MEMORY: Final = 77
"""Exit code of a process that has no memory left even for an answer."""
_PIECE: Final = 256 * 1024
"""Bytes or characters."""


class Task(Struct, frozen=True, array_like=True):
    """The document follows in pieces."""

    detected: Detected
    name: str
    title: str
    is_text: bool
    """The pieces are UTF-8 because the document was text, not because it was sent so."""


class Refusal(Struct, frozen=True, array_like=True):
    kind: RefusalKind
    reason: str


class Answer(Struct, frozen=True, array_like=True):
    """The text follows in pieces."""

    extracted: Extracted | None = None
    """Without the text."""
    refusal: Refusal | None = None
    is_last: bool = False
    """The process ends now."""


_encode: Final = msgspec.msgpack.Encoder().encode
decode_task: Final = msgspec.msgpack.Decoder(Task).decode
decode_answer: Final = msgspec.msgpack.Decoder(Answer).decode


def framed(message: Task | Answer) -> bytes:
    return _with_length(_encode(message))


def pieces(data: bytes | str) -> Iterator[bytes]:
    """Framed, with the empty one at the end."""
    for begin in range(0, len(data), _PIECE):
        piece = data[begin : begin + _PIECE]
        yield _with_length(without_surrogates(piece).encode() if isinstance(piece, str) else piece)
    yield _with_length(b"")


def _with_length(data: bytes) -> bytes:
    return len(data).to_bytes(LENGTH_BYTES, "big") + data
