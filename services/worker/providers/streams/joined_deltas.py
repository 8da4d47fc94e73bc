"""The deltas of chunks that arrived together, as few as possible."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from services.worker.providers.errors.wire_errors import WireError
from services.worker.providers.streams.chunks import ChunkDelta, ChunkReader

__all__ = ["joined_deltas"]


def joined_deltas(chunks: ChunkReader, payloads: Iterable[bytes]) -> Iterator[ChunkDelta]:
    """The content of chunks in their order, with the text of adjacent ones in one delta: what takes a delta (room,
    guard, publisher) takes much longer than reading a chunk.

    Raises as `ChunkReader.read`, after the content of the chunks before.
    """
    texts: list[str] = []
    for payload in payloads:
        try:
            delta = chunks.read(payload)
        except WireError:
            if texts:
                yield ChunkDelta("".join(texts))
            raise
        if delta is None:
            continue
        if not delta.choices:
            texts.append(delta.text)
            continue
        if texts:
            yield ChunkDelta("".join(texts))
            texts.clear()
        yield delta
    if texts:
        yield ChunkDelta("".join(texts))
