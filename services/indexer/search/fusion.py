"""Reciprocal rank fusion of the results by vector and by words.

Cosine similarities and full-text ranks have no common scale, and the ranks of two stores not even the same formula.
Positions can be compared: an item gets 1 / (k + position) from each list that contains it (Cormack, Clarke and
Büttcher, 2009). They chose k = 60 for lists of a thousand results, in which a tenth place is nearly as good as a first.
Here the lists are short, each often alone has the answer, and its first two results must get a place: k = 2. Of 1 to 60
everything up to 5 found about the same on tests/data/retrieval, and 60 found 3% less.

A question in another language than the answer has only common words with any chunk. The list by words is then in order
of coincidences, and its first places must not come before the nearest vectors. How far it is trusted follows from the
chunk that has most of the question's words, counted by their rarity. A list with half of the trust gives its first
place half of the score, and the places below it lose less: it is a supplement, and still gets a place of five.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Final, TypeVar

import msgspec

from services.indexer.store.interface import Hit

__all__ = ["CANDIDATES", "FusedHit", "RankedList", "fuse_hits", "reciprocal_rank_fusion"]

CANDIDATES: Final = 50
"""Results that each search should return for a page of passages: one in the middle of both lists is often right."""
_RANK_CONSTANT: Final = 2.0
_TRUSTED_COVER: Final = 0.5
"""Of the rare words of a question: a list by words in which a chunk has them counts as much as the list by vector."""
_DOCUMENT_SHARE: Final = 0.8
"""Of the places, for one document, while other documents have results. A long document with many similar sections would
otherwise fill the page and hide a second source. A smaller share loses answers: two of five places found 1% fewer.
"""

Item = TypeVar("Item")


class RankedList(msgspec.Struct, frozen=True):
    """The keys of results, best first; of a key that comes twice the first place counts."""

    keys: Sequence[Hashable]
    trust: float = 1.0
    """0 to 1: what its first place counts, compared with the first place of another list."""


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
        for below, key in enumerate(dict.fromkeys(ranked.keys)):
            score = ranked.trust / (k + 1 + ranked.trust * below)
            scores[key] = scores.get(key, 0.0) + score
    return sorted(scores.items(), key=lambda item: -item[1])


def fuse_hits(
    by_vector: Sequence[Hit], by_text: Sequence[Hit], limit: int, words: Sequence[str]
) -> list[FusedHit]:
    """The best `limit` chunks of both lists; `words` are the terms of the question.

    Documents with the same text have chunks with the same id: these are one result, of the document that came first.
    Neighbouring chunks are not joined: a passage is cited by its chunk, and a token budget is spent better on other
    places of the document.
    """
    hits: dict[Hashable, Hit] = {}
    for hit in (*by_vector, *by_text):
        hits.setdefault(hit.chunk.id, hit)
    trust = min(1.0, _best_cover(hits.values(), words) / _TRUSTED_COVER)
    fused = reciprocal_rank_fusion(
        [
            RankedList([hit.chunk.id for hit in by_vector]),
            RankedList([hit.chunk.id for hit in by_text], trust),
        ]
    )
    ordered = [FusedHit(hits[key], score) for key, score in fused]
    return _spread(ordered, limit, lambda item: item.hit.document.id)


def _best_cover(hits: Iterable[Hit], words: Sequence[str]) -> float:
    """The largest share of the question's words that one of the chunks has, 0 to 1. A word counts by its inverse
    document frequency among the chunks that were found: the stores do not say in how many of a collection it is.
    """
    asked = frozenset(words)
    found = [asked.intersection(hit.chunk.terms.split()) for hit in hits]
    having = Counter(word for each in found for word in each)
    rarity = {word: math.log(1 + (len(found) - having[word] + 0.5) / (having[word] + 0.5)) for word in asked}
    total = sum(rarity.values())
    return max((sum(rarity[word] for word in each) for each in found), default=0.0) / total if total else 0.0


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
