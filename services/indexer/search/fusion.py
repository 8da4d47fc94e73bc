"""Reciprocal rank fusion of the results by vector and by words.

Cosine similarities and full-text ranks have no common scale, and the ranks of two stores not even the same formula.
Positions can be compared: an item gets 1 / (k + position) from each list that contains it (Cormack, Clarke and
Büttcher, 2009). They chose k = 60 for lists of a thousand results, in which a tenth place is nearly as good as a first.
Here the lists are short, each often alone has the answer, and its first two results must get a place: k = 2. Of 1 to 60
everything up to 5 found about the same on tests/data/retrieval, and 60 found 3% less.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Final, TypeVar

import msgspec

from services.indexer.store.interface import Hit

__all__ = ["CANDIDATES", "FusedHit", "RankedList", "fuse_hits", "reciprocal_rank_fusion"]

CANDIDATES: Final = 50
"""Results that each search should return for a page of passages: one in the middle of both lists is often right."""
_RANK_CONSTANT: Final = 2.0
_DOCUMENT_SHARE: Final = 0.8
"""Of the places, for one document, while other documents have results. A long document with many similar sections would
otherwise fill the page and hide a second source. A smaller share loses answers: two of five places found 1% fewer.
"""

Item = TypeVar("Item")


class RankedList(msgspec.Struct, frozen=True):
    """The keys of results, best first; of a key that comes twice the first place counts."""

    keys: Sequence[Hashable]
    weight: float = 1.0


class FusedHit(msgspec.Struct, frozen=True):
    hit: Hit
    score: float
    """Of the fusion: comparable inside one answer only. The similarity of the hit is comparable between answers."""


def reciprocal_rank_fusion(
    lists: Sequence[RankedList], k: float = _RANK_CONSTANT
) -> list[tuple[Hashable, float]]:
    """Each key once with its score, best first. Keys of the same score keep the order in which they first came."""
    scores: dict[Hashable, float] = {}
    for ranked in lists:
        for place, key in enumerate(dict.fromkeys(ranked.keys), 1):
            scores[key] = scores.get(key, 0.0) + ranked.weight / (k + place)
    return sorted(scores.items(), key=lambda item: -item[1])


def fuse_hits(by_vector: Sequence[Hit], by_text: Sequence[Hit], limit: int) -> list[FusedHit]:
    """The best `limit` chunks of both lists.

    Documents with the same text have chunks with the same id: these are one result, of the document that came first.
    Neighbouring chunks are not joined: a passage is cited by its chunk, and a token budget is spent better on other
    places of the document.
    """
    hits: dict[Hashable, Hit] = {}
    for hit in (*by_vector, *by_text):
        hits.setdefault(hit.chunk.id, hit)
    fused = reciprocal_rank_fusion(
        [RankedList([hit.chunk.id for hit in found]) for found in (by_vector, by_text)]
    )
    ordered = [FusedHit(hits[key], score) for key, score in fused]
    return _spread(ordered, limit, lambda item: item.hit.document.id)


def _spread(ordered: Sequence[Item], limit: int, document_of: Callable[[Item], str]) -> list[Item]:
    """The first `limit`; what a document has beyond its share only fills places that nothing else takes."""
    share = max(1, math.floor(limit * _DOCUMENT_SHARE))
    count: Counter[str] = Counter()
    within: list[int] = []
    beyond: list[int] = []
    for at, item in enumerate(ordered):
        count[document_of(item)] += 1
        (within if count[document_of(item)] <= share else beyond).append(at)
    taken = sorted((within + beyond)[:limit])
    return [ordered[at] for at in taken]
