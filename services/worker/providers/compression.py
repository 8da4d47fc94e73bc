"""RequestBodies that come compressed although `Accept-Encoding: identity` was sent, unpacked as they come.

Formats: RFC 9110, 8.4.1 (gzip, and deflate as zlib wraps it; some servers send deflate without the wrapping).
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Final

__all__ = ["CannotUnpack", "Unpacker", "encoding_of", "unpacked"]

_STEP_BYTES: Final = 64 * 1024
"""The most that is unpacked at once: of a body that unpacks to gigabytes no more than this is in memory."""
_GZIP: Final = b"\x1f\x8b"
_WRAPPED: Final = 32 + zlib.MAX_WBITS
"""zlib tells gzip and zlib apart by itself."""
_UNWRAPPED: Final = -zlib.MAX_WBITS
_NONE: Final = frozenset(("", "identity", "none", "utf-8"))
"""The last two are no encodings; servers name them all the same."""
_GZIP_NAMES: Final = frozenset(("gzip", "x-gzip"))


class CannotUnpack(ValueError):
    """The encoding is not known, or the body is not what its header says."""


def encoding_of(header: str | None) -> str | None:
    """The one encoding that a `Content-Encoding` names, or None. Raises CannotUnpack for one that is not known."""
    names = [name for part in (header or "").split(",") if (name := part.strip().lower()) not in _NONE]
    if not names:
        return None
    if len(names) > 1 or names[0] not in _GZIP_NAMES | {"deflate"}:
        raise CannotUnpack(f"the answer came as {header}, which was not asked for and cannot be read")
    return names[0]


class Unpacker:
    """Unpacks one body. What only claims to be compressed passes as it is."""

    def __init__(self, encoding: str) -> None:
        self._is_gzip = encoding in _GZIP_NAMES
        self._start = b""
        self._stream: zlib._Decompress | None = None
        self._is_plain = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """In pieces of bounded size. Raises CannotUnpack for what is damaged."""
        if self._is_plain:
            yield data
            return
        if self._stream is None:
            data = self._start + data
            if len(data) < len(_GZIP):
                self._start = data
                return
            self._stream = self._opened(data)
            if self._stream is None:
                self._is_plain = True
                yield data
                return
        yield from self._unpacked(self._stream, data)

    def close(self) -> Iterator[bytes]:
        """The body has ended. Raises CannotUnpack when the compressed data has not."""
        if self._stream is None:
            if self._start and not self._is_plain:
                yield self._start
        elif not self._stream.eof:
            raise CannotUnpack("the compressed answer ends before its end")

    def _opened(self, start: bytes) -> zlib._Decompress | None:
        if self._is_gzip:
            return zlib.decompressobj(_WRAPPED) if start.startswith(_GZIP) else None
        # RFC 1950, 2.2: the first two bytes of zlib's wrapping, as a number, are a multiple of 31.
        if start[0] & 0x0F == zlib.DEFLATED and int.from_bytes(start[:2], "big") % 31 == 0:
            return zlib.decompressobj(_WRAPPED)
        # A body in clear begins with `{`, `[`, white space or a field of an event: none of them begins a deflate block
        # as compressors write it.
        return None if start[:1] in b"{[ \r\n\tdei:r" else zlib.decompressobj(_UNWRAPPED)

    def _unpacked(self, stream: zlib._Decompress, data: bytes) -> Iterator[bytes]:
        while data:
            try:
                piece = stream.decompress(data, _STEP_BYTES)
            except zlib.error as error:
                raise CannotUnpack(f"the compressed answer is damaged: {error}") from error
            if piece:
                yield piece
            data = stream.unconsumed_tail
            if stream.eof:
                data = stream.unused_data
                if not data.startswith(_GZIP):
                    return
                # Some servers send each part of a stream as a gzip file of its own.
                stream = self._stream = zlib.decompressobj(_WRAPPED)


async def unpacked(pieces: AsyncIterator[bytes], encoding: str | None) -> AsyncIterator[bytes]:
    """The body behind `pieces`. Other tasks run between two of its pieces, however many come of one that arrived."""
    if encoding is None:
        async for piece in pieces:
            yield piece
        return
    unpacker = Unpacker(encoding)
    async for packed in pieces:
        for number, piece in enumerate(unpacker.feed(packed)):
            if number:
                await asyncio.sleep(0)
            yield piece
    for piece in unpacker.close():
        yield piece
