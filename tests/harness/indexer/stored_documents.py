"""Documents as the indexer gives them to a store, with vectors that follow from the texts."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from services.indexer.store.interface import Chunk, Document, DocumentChunks, EmbeddedChunk, Question
from services.indexer.store.tables import tag

DIMENSIONS: Final = 16


def vector(text: str, dimensions: int = DIMENSIONS) -> bytes:
    """Random numbers of length one: the same for the same text, nearly orthogonal for another."""
    dice = random.Random(text)
    numbers = [dice.gauss(0, 1) for _ in range(dimensions)]
    length = math.sqrt(sum(each * each for each in numbers))
    return array("f", [each / length for each in numbers]).tobytes()


def chunk_id(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def document(
    id_: str, texts: Sequence[str], *, metadata: dict[str, str] | None = None, dimensions: int = DIMENSIONS
) -> DocumentChunks:
    """Each text is one chunk of as many tokens as it has words."""
    head = Document(
        id=id_,
        digest=chunk_id(repr(texts)),
        title=f"Title of {id_}",
        source=f"file:///{id_}",
        metadata=b'{"kind":"test"}',
        tags=tuple(tag(key, value) for key, value in (metadata or {}).items()),
        updated_ms=1_700_000_000_000,
    )
    chunks = [
        EmbeddedChunk(
            Chunk(
                id=chunk_id(text),
                ordinal=ordinal,
                text=text,
                heading="Part > Section",
                start=ordinal * 100,
                end=ordinal * 100 + len(text),
                page=ordinal + 1 if ordinal % 2 else None,
                terms=" ".join(text.lower().split()),
                tokens=len(text.split()),
            ),
            vector(text, dimensions),
        )
        for ordinal, text in enumerate(texts)
    ]
    return DocumentChunks(head, tuple(chunks))


def question(text: str, limit: int = 10, **more: object) -> Question:
    return Question(vector(text), limit, **more)  # type: ignore[arg-type]
