"""A small PNG image for the demo (PNG 1.2: signature, IHDR, IDAT, IEND)."""

from __future__ import annotations

import base64
import struct
import zlib

__all__ = ["square_data_url", "square_png"]

Colour = tuple[int, int, int]


def square_png(side: int, colour: Colour) -> bytes:
    """A square of one colour, `side` pixels wide, eight bits a channel."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    row = b"\0" + bytes(colour) * side
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(row * side))
        + _chunk(b"IEND", b"")
    )


def square_data_url(side: int, colour: Colour) -> str:
    return f"data:image/png;base64,{base64.b64encode(square_png(side, colour)).decode()}"


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
