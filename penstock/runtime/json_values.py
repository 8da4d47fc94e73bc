"""The number of values in a JSON text, counted without decoding it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec import Raw

__all__ = ["MAX_BODY_VALUES", "has_more_values"]

MAX_BODY_VALUES: Final = 100_000
"""Values in the body of a request. The time to decode a body grows with their number more than with its bytes: 8 MB of
`{"a":{}}` take 1.5 s, 100,000 values up to 0.05 s, in which the process does nothing else."""

_STRUCTURE: Final = b',[{"\\'
_CHUNK_BYTES: Final = 256 * 1024
_OTHERS: Final = bytes(set(range(256)) - set(_STRUCTURE))


def has_more_values(json: bytes | bytearray | Raw, limit: int) -> bool:
    """Whether the arrays and objects of a JSON text have more than `limit` elements in all.

    An empty one counts as one element. Exact for valid JSON, and for the valid beginning of any other text, which is
    all that a decoder reads. Takes about 5 ms for 8 MB, and up to 50 ms where strings contain much JSON; other threads
    run in between.
    """
    if len(json) <= limit:
        return False
    elements = 0
    for chunk in _chunks(json):
        elements += _elements(chunk.translate(None, _OTHERS))
        if elements > limit:
            return _has_more_outside_strings(json, limit)
    return False


def _has_more_outside_strings(json: bytes | bytearray | Raw, limit: int) -> bool:
    elements = quotes = 0
    for chunk in _chunks(json):
        unescaped = chunk.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in chunk else chunk
        parts = unescaped.translate(None, _OTHERS).split(b'"')
        elements += _elements(b"".join(parts[quotes % 2 :: 2]))
        quotes += len(parts) - 1
        if elements > limit or quotes > 4 * limit:  # each string has two quotes and is an element or its key
            return True
    return False


def _chunks(json: bytes | bytearray | Raw) -> Iterator[bytes]:
    """The text in parts, none of which ends within an escape sequence of two characters."""
    view, start = memoryview(json), 0
    while start < view.nbytes:
        end = start + _CHUNK_BYTES
        chunk = bytes(view[start:end])
        if (len(chunk) - len(chunk.rstrip(b"\\"))) % 2:
            end += 1
            chunk = bytes(view[start:end])
        yield chunk
        start = end


def _elements(structure: bytes) -> int:
    return structure.count(b",") + structure.count(b"[") + structure.count(b"{")
