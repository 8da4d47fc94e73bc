"""Streaming decompression of response bodies that are compressed despite `Accept-Encoding: identity`.

Formats: RFC 9110, 8.4.1 (gzip, and deflate as zlib wraps it; some servers send deflate without that header).
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Final

__all__ = ["DecompressionError", "Decompressor", "content_encoding", "decompress"]

_STEP_BYTES: Final = 64 * 1024
"""Limit of one decompressed piece. It bounds the memory for a body that expands to gigabytes."""
_GZIP: Final = b"\x1f\x8b"
_WITH_HEADER: Final = 32 + zlib.MAX_WBITS
"""The `wbits` with which zlib detects a gzip or zlib header."""
_RAW: Final = -zlib.MAX_WBITS
"""The `wbits` for deflate without a header."""
_NONE: Final = frozenset(("", "identity", "none", "utf-8"))
"""Names for an uncompressed body. The last two are not encodings, but servers send them."""
_GZIP_NAMES: Final = frozenset(("gzip", "x-gzip"))


class DecompressionError(ValueError):
    """The encoding is unknown, or the compressed body is damaged or truncated."""


def content_encoding(header: str | None) -> str | None:
    """The encoding in a `Content-Encoding` header, or None. Raises DecompressionError for several or an unknown one."""
    if header is None:
        return None
    names = [name for part in header.split(",") if (name := part.strip().lower()) not in _NONE]
    if not names:
        return None
    if len(names) > 1 or names[0] not in _GZIP_NAMES | {"deflate"}:
        raise DecompressionError(
            f"the response has the content encoding {header}, which was not requested and is not supported"
        )
    return names[0]


class Decompressor:
    """Decompresses one body. A body that is not compressed passes unchanged, whatever its header says."""

    def __init__(self, encoding: str) -> None:
        self._is_gzip = encoding in _GZIP_NAMES
        self._start = b""
        self._stream: zlib._Decompress | None = None
        self._is_plain = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The decompressed data in pieces of limited size. Raises DecompressionError for damaged data."""
        if self._is_plain:
            yield data
            return
        if self._stream is None:
            data = self._start + data
            if len(data) < len(_GZIP):
                self._start = data
                return
            self._stream = self._detect(data)
            if self._stream is None:
                self._is_plain = True
                yield data
                return
        yield from self._decompress(self._stream, data)

    def close(self) -> Iterator[bytes]:
        """The remaining data at the end of the body. Raises DecompressionError if the compressed data is truncated."""
        if self._stream is None:
            if self._start and not self._is_plain:
                yield self._start
        elif not self._stream.eof:
            raise DecompressionError("the compressed response is truncated")

    def _detect(self, start: bytes) -> zlib._Decompress | None:
        if self._is_gzip:
            return zlib.decompressobj(_WITH_HEADER) if start.startswith(_GZIP) else None
        # RFC 1950, 2.2: the first two bytes of the zlib header, as a number, are a multiple of 31.
        if start[0] & 0x0F == zlib.DEFLATED and int.from_bytes(start[:2], "big") % 31 == 0:
            return zlib.decompressobj(_WITH_HEADER)
        # An uncompressed body begins with `{`, `[`, white space or a field of an event. Deflate blocks that compressors
        # write do not begin with any of them.
        return None if start[:1] in b"{[ \r\n\tdei:r" else zlib.decompressobj(_RAW)

    def _decompress(self, stream: zlib._Decompress, data: bytes) -> Iterator[bytes]:
        while data:
            try:
                piece = stream.decompress(data, _STEP_BYTES)
            except zlib.error as error:
                raise DecompressionError(f"the compressed response is damaged: {error}") from error
            if piece:
                yield piece
            data = stream.unconsumed_tail
            if stream.eof:
                data = stream.unused_data
                if not data.startswith(_GZIP):
                    return
                # Some servers send each part of a stream as a separate gzip file.
                stream = self._stream = zlib.decompressobj(_WITH_HEADER)


async def decompress(pieces: AsyncIterator[bytes], encoding: str | None) -> AsyncIterator[bytes]:
    """The decompressed body. Other tasks may run between two pieces that come from one received piece."""
    if encoding is None:
        async for piece in pieces:
            yield piece
        return
    decompressor = Decompressor(encoding)
    async for compressed in pieces:
        for number, piece in enumerate(decompressor.feed(compressed)):
            if number:
                await asyncio.sleep(0)
            yield piece
    for piece in decompressor.close():
        yield piece
