"""The labelled corpus in memory: chunked, encoded and searched by the project's own parts, ranked by BM25 for words."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from penstock.runtime.retrieval.terms import question_terms, terms
from services.encoder.model import Vectors, finished
from services.encoder.pieces import pieces
from services.indexer.chunking.chunk import chunk
from services.indexer.documents.document import Extracted
from services.indexer.search.fusion import CANDIDATES, fuse_hits
from services.indexer.store.interface import Chunk, Document, Hit
from tests.harness.retrieval.labelled import LabelledQuestion

__all__ = ["METHODS", "InMemoryIndex", "recall"]

METHODS: Final = ("vector", "text", "hybrid")
_K1: Final = 1.2
_B: Final = 0.75
"""The usual constants of BM25."""
_BATCH: Final = 64

Encode = Callable[[Sequence[str]], Vectors]


class _Place(Struct, frozen=True):
    document: str
    start: int
    end: int


class InMemoryIndex:
    def __init__(self, texts: dict[str, str], encode: Encode) -> None:
        self._encode = encode
        self._hits: list[tuple[Document, Chunk]] = []
        embedded = []
        for name, text in texts.items():
            document = Document(id=name, digest="")
            for part in chunk(Extracted(text=text, format="markdown")):
                below = f"{part.heading}\n{part.text}"
                embedded.append(below)
                stored = Chunk(
                    id=part.id,
                    ordinal=part.ordinal,
                    text=part.text,
                    start=part.start,
                    end=part.end,
                    terms=terms(below),
                )
                self._hits.append((document, stored))
        self._vectors = self._vectors_of(embedded)
        self._counts = [Counter(stored.terms.split()) for _, stored in self._hits]
        self._lengths = [counts.total() for counts in self._counts]
        self._chunks_with: dict[str, list[int]] = defaultdict(list)
        for number, counts in enumerate(self._counts):
            for term in counts:
                self._chunks_with[term].append(number)

    def __len__(self) -> int:
        return len(self._hits)

    def found(self, question: str, limit: int) -> dict[str, list[_Place]]:
        """The places of the first `limit` results, by method."""
        similarities = (self._vectors_of([question]) @ self._vectors.T)[0]
        by_vector = [self._hit(number, similarities) for number in np.argsort(-similarities)[:CANDIDATES]]
        by_text = [self._hit(number, similarities) for number in self._by_words(question)[:CANDIDATES]]
        results = {
            "vector": by_vector[:limit],
            "text": by_text[:limit],
            "hybrid": [fused.hit for fused in fuse_hits(by_vector, by_text, limit)],
        }
        return {
            method: [_Place(hit.document.id, hit.chunk.start, hit.chunk.end) for hit in hits]
            for method, hits in results.items()
        }

    def _hit(self, number: int, similarities: Vectors) -> Hit:
        document, stored = self._hits[number]
        return Hit(document=document, chunk=stored, similarity=float(similarities[number]))

    def _by_words(self, question: str) -> list[int]:
        scores: dict[int, float] = defaultdict(float)
        mean_length = sum(self._lengths) / len(self._lengths)
        for term in question_terms(question):
            numbers = self._chunks_with.get(term, [])
            rarity = math.log(1 + (len(self._hits) - len(numbers) + 0.5) / (len(numbers) + 0.5))
            for number in numbers:
                count = self._counts[number][term]
                damping = _K1 * (1 - _B + _B * self._lengths[number] / mean_length)
                scores[number] += rarity * count * (_K1 + 1) / (count + damping)
        return sorted(scores, key=lambda number: (-scores[number], number))

    def _vectors_of(self, texts: Sequence[str]) -> Vectors:
        """As the encoder makes them."""
        split = [pieces(text) for text in texts]
        flat = sorted({piece for each in split for piece in each}, key=len)
        encoded: dict[str, Vectors] = {}
        for start in range(0, len(flat), _BATCH):
            batch = flat[start : start + _BATCH]
            encoded |= dict(zip(batch, self._encode(batch), strict=True))
        return finished(np.stack([sum(encoded[piece] for piece in each) for each in split]))


def recall(
    index: InMemoryIndex, asked: Sequence[LabelledQuestion], texts: dict[str, str], limit: int = 5
) -> dict[str, list[bool]]:
    """For each question, in order, whether it was answered, by method."""
    answered: dict[str, list[bool]] = {method: [] for method in METHODS}
    for question in asked:
        ((start, end),) = question.places(texts[question.document])
        for method, places in index.found(question.question, limit).items():
            answered[method].append(
                any(
                    place.document == question.document
                    and 2 * (min(place.end, end) - max(place.start, start)) >= end - start
                    for place in places
                )
            )
    return answered
