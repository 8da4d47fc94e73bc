"""The labelled corpus in a store of the indexer: chunked, encoded, stored and searched by the project's own parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from penstock.runtime.retrieval.terms import question_terms, terms
from services.encoder.model import Vectors, finished
from services.encoder.pieces import pieces
from services.indexer.chunking.chunk import chunk
from services.indexer.documents.document import Extracted
from services.indexer.embedding.embedded_text import chunk_key
from services.indexer.search.fusion import CANDIDATES, fuse_hits
from services.indexer.store.interface import (
    Chunk,
    Document,
    DocumentChunks,
    EmbeddedChunk,
    Hit,
    Question,
    Store,
)
from services.indexer.store.tables import table_name
from tests.harness.retrieval.labelled import LabelledQuestion

__all__ = ["StoredCorpus"]

_BATCH: Final = 64
_TABLE: Final = table_name("labelled", "corpus", 1)

Encode = Callable[[Sequence[str]], Sequence[Vectors]]


class _Part(Struct, frozen=True):
    document: str
    chunk: Chunk
    embedded: str
    """The text below its headings, of which vector and terms are made."""


class StoredCorpus:
    def __init__(self, store: Store, texts: dict[str, str], encode: Encode) -> None:
        self._store = store
        self._texts = texts
        self._encode = encode

    async def fill(self) -> int:
        """Returns the number of chunks."""
        parts = [part for name, text in self._texts.items() for part in _parts(name, text)]
        vectors = self._vectors([part.embedded for part in parts])
        chunks: dict[str, list[EmbeddedChunk]] = {name: [] for name in self._texts}
        for part, vector in zip(parts, vectors, strict=True):
            chunks[part.document].append(EmbeddedChunk(part.chunk, vector.tobytes()))
        await self._store.create(_TABLE, vectors.shape[1])
        documents = [
            DocumentChunks(Document(id=name, digest="0"), tuple(found)) for name, found in chunks.items()
        ]
        await self._store.replace(_TABLE, 1, documents)
        await self._store.optimize(_TABLE)
        return len(parts)

    async def drop(self) -> None:
        await self._store.drop(_TABLE)

    async def answered(self, asked: Sequence[LabelledQuestion], places: int = 5) -> dict[str, list[bool]]:
        """Whether one of the first results has half of the quote: for each question, by method."""
        found: dict[str, list[bool]] = {"vector": [], "text": [], "hybrid": []}
        for question, vector in zip(asked, self._vectors([each.question for each in asked]), strict=True):
            query = Question(vector.tobytes(), CANDIDATES)
            by_vector = await self._store.search_vector(_TABLE, query)
            words = question_terms(question.question)
            by_text = await self._store.search_text(_TABLE, words, query)
            fused = [each.hit for each in fuse_hits(by_vector, by_text, places, words)]
            for method, hits in (("vector", by_vector), ("text", by_text), ("hybrid", fused)):
                found[method].append(self._is_answered(question, hits[:places]))
        return found

    def _is_answered(self, question: LabelledQuestion, hits: Sequence[Hit]) -> bool:
        ((start, end),) = question.places(self._texts[question.document])
        return any(
            hit.document.id == question.document
            and 2 * (min(hit.chunk.end, end) - max(hit.chunk.start, start)) >= end - start
            for hit in hits
        )

    def _vectors(self, texts: Sequence[str]) -> Vectors:
        """As the encoder makes them."""
        split = [pieces(text) for text in texts]
        flat = sorted({piece for each in split for piece in each}, key=len)
        encoded: dict[str, Vectors] = {}
        for start in range(0, len(flat), _BATCH):
            batch = flat[start : start + _BATCH]
            encoded |= dict(zip(batch, self._encode(batch), strict=True))
        return finished(np.stack([sum(encoded[piece] for piece in each) for each in split]))


def _parts(name: str, text: str) -> list[_Part]:
    found = []
    occurrences: Counter[str] = Counter()
    for part in chunk(Extracted(text=text, format="markdown")):
        embedded = f"{part.heading}\n{part.text}"
        words = terms(embedded)
        stored = Chunk(
            id=chunk_key(embedded, occurrences[embedded]),
            ordinal=part.ordinal,
            text=part.text,
            heading=part.heading,
            start=part.start,
            end=part.end,
            terms=words,
            tokens=len(words.split()),
        )
        occurrences[embedded] += 1
        found.append(_Part(name, stored, embedded))
    return found
