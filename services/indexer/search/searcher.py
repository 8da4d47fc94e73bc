"""Search in one collection: by vector, by words, or both, fused by their ranks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from penstock.bus.clock import loop_now_s
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.retrieval.collections import Generation
from penstock.contract.retrieval.documents import Metadata
from penstock.contract.retrieval.search import MAX_BUDGET_TOKENS, Passage, SearchAnswer, SearchRequest
from penstock.runtime.retrieval.terms import question_terms
from services.indexer.collections.tables import Target
from services.indexer.embedding.gateway import Caller, EmbeddingFailed
from services.indexer.search.fusion import CANDIDATES, fuse_hits
from services.indexer.search.lookup import CollectionLookup, SearchRefused
from services.indexer.search.message_size import fits, fitting_answer
from services.indexer.search.query_vectors import QueryVectors
from services.indexer.search.whole_reads import WholeReads
from services.indexer.store.interface import FilterTerm, Hit, Question, ReadLimit, Store, StoredChunk
from services.indexer.store.tags import terms_of

__all__ = ["AccountQuery", "Searcher"]

_log: Final = rate_limited_logger(__name__)
_QUERY_CHARACTERS: Final = 100_000
_LATEST_TURNS: Final = 10
"""Latest turns of the requesting conversation that are left out of its results: the request already contains them."""
_EMBEDDING_SHARE: Final = 0.7
"""Of the time of a search, for the vector of its question; then words alone answer."""
_STORE_CALLS: Final = 32
"""Searches in the store at once. Those that wait for the vector of their question are not among them."""
_FILTER_VALUES: Final = 1_000

_decode_metadata: Final = msgspec.json.Decoder(Metadata).decode


class AccountQuery(Struct, frozen=True):
    """A search request and the account that sent it."""

    account: str
    request: SearchRequest
    traceparent: str | None
    began_s: float
    max_bytes: int
    """Of the encoded answer."""


class Searcher:
    def __init__(self, store: Store, lookup: CollectionLookup, vectors: QueryVectors) -> None:
        self._store = store
        self._lookup = lookup
        self._vectors = vectors
        self._store_calls = asyncio.Semaphore(_STORE_CALLS)
        self._whole_reads = WholeReads()

    async def search(self, query: AccountQuery) -> SearchAnswer:
        """Raises SearchRefused, StoreError and RecordsUnavailable."""
        request = query.request
        name = self._lookup.name_of(query.account, request.collection, request.user)
        _check(request)

        async def question(target: Target) -> SearchAnswer:
            return await self._answer(query, target)

        answer = await self._lookup.ask(query.account, name, question)
        if answer is not None:
            return answer
        if not request.collection:
            return SearchAnswer(passages=())  # nothing was remembered yet
        raise self._lookup.unknown(query.account, request.collection)

    async def _answer(self, query: AccountQuery, target: Target) -> SearchAnswer:
        request = query.request
        filter_ = terms_of(request.filters, request.exclude)
        if request.whole_tokens is not None:
            everything = await self._whole(query, target, filter_, request.whole_tokens)
            if everything is not None:
                return everything
        if not request.query.strip():
            raise SearchRefused("invalid_request", "the query is empty")
        excluded = await self._latest_turns(target, request)
        vector = None
        if request.mode != "text":
            vector = await self._vector(query, target.generation)
        async with self._store_calls:
            hits = await self._hits(request, target, filter_, vector, request.top_k + len(excluded))
        kept = [hit for hit in hits if hit.document.id not in excluded][: request.top_k]
        if vector is None:
            return fitting_answer(_answered(query, [_passage(hit, 0.0) for hit in kept]), query.max_bytes)
        passages = [_passage(hit, _score(hit)) for hit in kept]
        answer = _answered(query, passages, model=target.generation.model)
        return fitting_answer(answer, query.max_bytes)

    async def _whole(
        self, query: AccountQuery, target: Target, filter_: tuple[FilterTerm, ...], tokens: int
    ) -> SearchAnswer | None:
        """The answer with all chunks; None: they are too many for the request or for a message."""
        most = ReadLimit(min(tokens, MAX_BUDGET_TOKENS), query.max_bytes)
        async with self._whole_reads.place(query.account):
            found = await self._store.all_chunks(target.table, filter_, most)
            if found is None:
                return None
            answer = _answered(query, [_passage(each, 0.0) for each in found], whole=True)
            return answer if fits(answer, query.max_bytes) else None

    async def _vector(self, query: AccountQuery, generation: Generation) -> bytes | None:
        """None: the embedding model is not available, and words alone decide."""
        request = query.request
        caller = Caller(
            account=query.account,
            user=request.user,
            traceparent=query.traceparent,
            until_s=query.began_s + request.timeout_s * _EMBEDDING_SHARE,
            store=bool(request.collection),
        )
        try:
            async with asyncio.timeout_at(caller.until_s):
                return await self._vectors.get(request.query, generation, caller)
        except (EmbeddingFailed, TimeoutError) as error:
            if request.mode == "vector":
                message = f"the vector of the query is not available: {str(error) or 'it took too long'}"
                raise SearchRefused(
                    "retrieval_unavailable", message, getattr(error, "retry_after_s", None)
                ) from error
            _log.warning("a search by words alone, without the vector of its query: %r", error)
            return None

    async def _hits(
        self,
        request: SearchRequest,
        target: Target,
        filter_: tuple[FilterTerm, ...],
        vector: bytes | None,
        most: int,
    ) -> Sequence[Hit]:
        limit = max(CANDIDATES, most)
        question = Question(vector, limit, filter_)
        words = question_terms(request.query) if request.mode != "vector" else ()
        if vector is None:
            return (await self._store.search_text(target.table, words, question))[:most] if words else []

        def similar(hits: Sequence[Hit]) -> list[Hit]:
            return [hit for hit in hits if _score(hit) >= request.min_score]

        if not words:
            return similar(await self._store.search_vector(target.table, question))[:most]
        by_vector, by_text = await asyncio.gather(
            self._store.search_vector(target.table, question),
            self._store.search_text(target.table, words, question),
        )
        return [fused.hit for fused in fuse_hits(similar(by_vector), similar(by_text), most, words)]

    async def _latest_turns(self, target: Target, request: SearchRequest) -> frozenset[str]:
        """Documents that the asking conversation has before it already."""
        if request.collection or not request.conversation:
            return frozenset()
        turns = terms_of({"conversation": request.conversation}, {})
        return frozenset(await self._store.latest_documents(target.table, turns, _LATEST_TURNS))


def _check(request: SearchRequest) -> None:
    """Raises SearchRefused."""
    if len(request.query) > _QUERY_CHARACTERS:
        raise SearchRefused("invalid_request", f"the query has more than {_QUERY_CHARACTERS:,} characters")
    for name, filters in (("filters", request.filters), ("exclude", request.exclude)):
        values = 0
        for key, value in filters.items():
            values += len(value) if isinstance(value, list) else 1
            if value == []:
                raise SearchRefused("invalid_request", f"{name}.{key[:80]} has no values")
        if values > _FILTER_VALUES:
            raise SearchRefused("invalid_request", f"{name} has more than {_FILTER_VALUES:,} values")


def _score(hit: Hit) -> float:
    """As the passage says it, and as `min_score` is compared with it."""
    return round(min(1.0, max(0.0, hit.similarity)), 6)


def _answered(
    query: AccountQuery, passages: Sequence[Passage], *, whole: bool = False, model: str = ""
) -> SearchAnswer:
    took_ms = round((loop_now_s() - query.began_s) * 1000, 3)
    return SearchAnswer(passages=tuple(passages), whole=whole, model=model, took_ms=took_ms)


def _passage(stored: StoredChunk, score: float) -> Passage:
    document, chunk = stored.document, stored.chunk
    return Passage(
        document=document.id,
        chunk=chunk.id,
        text=chunk.text,
        title=document.title,
        source=document.source,
        heading=chunk.heading,
        page=chunk.page,
        start=chunk.start,
        end=chunk.end,
        score=score,
        tokens=chunk.tokens,
        metadata=_decode_metadata(document.metadata),
    )
