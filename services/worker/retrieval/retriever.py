"""Finds what is put before the model for one request: passages of a collection, and turns of earlier conversations."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from penstock.bus import trace_names as names
from penstock.bus.clock import loop_now_s
from penstock.bus.tracing import Attributes, Span, Tracer
from penstock.contract import headers
from penstock.contract.retrieval.search import (
    MAX_TOP_K,
    MIN_BUDGET_TOKENS,
    Passage,
    Rag,
    SearchAnswer,
    SearchRequest,
)
from penstock.contract.work import ChatWork
from penstock.runtime.aio import cancel_and_wait
from penstock.runtime.config.retrieval import Memory
from penstock.runtime.retrieval.reserved_tokens import RULES_TOKENS
from services.worker.guard.request_guard import RequestGuard
from services.worker.retrieval.blocked_passages import without_blocked
from services.worker.retrieval.conversation import Conversation
from services.worker.retrieval.excerpts import excerpts_of, whole_documents
from services.worker.retrieval.metrics import RetrievalMetrics
from services.worker.retrieval.prompt import cost_of_passage, cost_of_turn
from services.worker.retrieval.retrieved import Found, Kind, Retrieved, retrieved
from services.worker.retrieval.rewrite import complete_question
from services.worker.retrieval.search_client import SearchClient, SearchRefused

__all__ = ["Retriever"]

_QUERY_CHARACTERS: Final = 2_000
_COMPARED_CHARACTERS: Final = 200
_QUESTION: Final = "Question: "
_EARLIER_QUESTION: Final = "User: "
"""How turns begin that earlier versions stored."""
_RETRY_S: Final = 2.0


class Retriever:
    """Searches for each request that names a collection or a conversation."""

    def __init__(
        self, search: SearchClient, memory: Memory, tracer: Tracer, metrics: RetrievalMetrics
    ) -> None:
        self._search = search
        self._memory = memory
        self._tracer = tracer
        self.metrics = metrics

    async def retrieve(
        self,
        work: ChatWork,
        conversation: Conversation,
        room_tokens: int,
        span: Span,
        guard: RequestGuard | None = None,
    ) -> Retrieved:
        """`room_tokens`: what the context of the models leaves for passages; `span`: of the request; `guard`: what it
        blocks is left out.

        Raises SearchRefused where the request needs passages and gets none, and Refused of the guard where it cannot
        check them.
        """
        room_tokens -= RULES_TOKENS
        request = _Request(work, conversation, _query(conversation.questions), span.traceparent)
        remembered = asyncio.create_task(self._remembered(request))
        try:
            found = await self._passages(request, room_tokens)
            turns = await remembered
        finally:
            await cancel_and_wait(remembered)
        if found.excerpts:
            room_tokens -= RULES_TOKENS + sum(map(cost_of_passage, found.excerpts))
        recalled = _turns_within(turns, min(self._memory.budget_tokens, room_tokens))
        found = replace(found, recalled=recalled)
        if guard is not None:
            found = await without_blocked(guard, found)
            span.set(names.GUARD_LEFT_OUT, len(found.left_out))
        self._count(found)
        return retrieved(work, conversation, found)

    async def _passages(self, request: _Request, room_tokens: int) -> Found:
        rag = request.work.rag
        if rag is None:
            return Found()
        try:
            return await self._searched(request, rag, min(rag.budget_tokens, room_tokens))
        except SearchRefused as refused:
            # A wrong name would never be noticed.
            if rag.required or refused.code == "unknown_collection":
                raise
            return Found()

    async def _searched(self, request: _Request, rag: Rag, budget_tokens: int) -> Found:
        if not request.query:
            raise SearchRefused("invalid_request", "rag needs a message of the user that has text")
        if rag.mode == "text" and rag.min_score > 0:
            raise SearchRefused("invalid_request", "rag.min_score must be 0 for a search by words alone")
        if budget_tokens < MIN_BUDGET_TOKENS:
            message = "the conversation leaves no room for passages in the context of any model of the role"
            raise SearchRefused("context_length_exceeded", message)
        search = SearchRequest(
            collection=rag.collection,
            query=request.query,
            mode=rag.mode,
            top_k=rag.top_k,
            min_score=rag.min_score,
            filters=rag.filters,
            exclude=rag.exclude,
            user=request.work.user,
        )
        first = replace(search, whole_tokens=budget_tokens) if rag.whole else search
        kind: Kind = "whole" if rag.whole else "passages"
        answer = await self._asked(request, first, kind, required=rag.required)
        if rag.whole and answer.whole:
            documents = whole_documents(answer.passages, budget_tokens=budget_tokens, cost=cost_of_passage)
            if documents is not None:
                return Found(documents, whole=True)
            answer = await self._asked(request, search, "passages", required=rag.required)
        return Found(
            excerpts_of(
                answer.passages,
                most=rag.top_k,
                min_score=rag.min_score,
                budget_tokens=budget_tokens,
                cost=cost_of_passage,
            )
        )

    async def _remembered(self, request: _Request) -> tuple[Passage, ...]:
        """Turns of earlier conversations, the best first; none where the search fails."""
        work, memory = request.work, self._memory
        if not (work.conversation and work.user and request.query):
            return ()
        search = SearchRequest(
            collection="",
            query=request.query,
            top_k=min(memory.top_k, MAX_TOP_K),
            min_score=memory.min_score,
            user=work.user,
            conversation=work.conversation,
        )
        try:
            answer = await self._asked(request, search, "memory", required=False)
        except SearchRefused:
            return ()
        said = [" ".join(text.split()) for text in request.conversation.texts]
        new = [each for each in answer.passages if not _is_said(each, said)]
        return excerpts_of(
            new,
            most=memory.top_k,
            min_score=memory.min_score,
            budget_tokens=memory.budget_tokens,
            cost=cost_of_turn,
        )

    async def _asked(
        self, request: _Request, search: SearchRequest, kind: Kind, *, required: bool
    ) -> SearchAnswer:
        span = self._start_span(request, search, kind)
        began_s, outcome = loop_now_s(), "cancelled"
        try:
            trace = None if span.traceparent is None else {headers.TRACEPARENT: span.traceparent}
            answer = await self._search.search(request.work.account, search, trace, required=required)
            _check_judged(search, answer)
            outcome = "found" if answer.passages else "nothing_found"
            span.set(names.PASSAGES, len(answer.passages))
            span.set(names.BEST_SCORE, max((each.score for each in answer.passages), default=0.0))
        except SearchRefused as refused:
            outcome = refused.code
            raise
        else:
            return answer
        finally:
            self.metrics.seconds.labels(kind).observe(loop_now_s() - began_s)
            self.metrics.retrievals.labels(kind, outcome).inc()
            span.end(error=None if outcome in {"found", "nothing_found"} else outcome)

    def _start_span(self, request: _Request, search: SearchRequest, kind: Kind) -> Span:
        attributes: Attributes = {names.RETRIEVAL_KIND: kind}
        if search.collection:
            attributes[names.COLLECTION] = search.collection
        return self._tracer.start(
            names.SPAN_RETRIEVAL, "client", parent=request.traceparent, attributes=attributes
        )

    def _count(self, found: Found) -> None:
        kind = "whole" if found.whole else "passages"
        for label, excerpts, cost in (
            (kind, found.excerpts, cost_of_passage),
            ("memory", found.recalled, cost_of_turn),
        ):
            if excerpts:
                self.metrics.passages.labels(label).observe(len(excerpts))
                self.metrics.tokens.labels(label).inc(sum(map(cost, excerpts)))


class _Request(Struct, frozen=True):
    """One request, as far as retrieval reads it."""

    work: ChatWork
    conversation: Conversation
    query: str
    traceparent: str | None


def _check_judged(search: SearchRequest, answer: SearchAnswer) -> None:
    """Raises SearchRefused for passages that were found by words alone where only similar ones are wanted: without the
    vector of the question, nothing is known of their similarity.
    """
    if search.min_score > 0 and answer.passages and not (answer.model or answer.whole):
        message = (
            "passages cannot be compared with min_score: the embedding model of the collection did not answer"
        )
        raise SearchRefused("retrieval_unavailable", message, _RETRY_S)


def _query(questions: Sequence[str]) -> str:
    """What is searched for the last question; empty if the user wrote nothing."""
    if not questions:
        return ""
    *earlier, question = (" ".join(text.split()) for text in questions)
    if len(question) > _QUERY_CHARACTERS:  # the question itself often follows a long quotation
        half = _QUERY_CHARACTERS // 2
        question = f"{question[:half]} {question[-half:]}"
    return complete_question(question, earlier)


def _turns_within(turns: Sequence[Passage], budget_tokens: int) -> tuple[Passage, ...]:
    """The best that fit, in the order in which they were said."""
    kept: list[Passage] = []
    for turn in turns:
        budget_tokens -= cost_of_turn(turn)
        if budget_tokens < 0:
            break
        kept.append(turn)
    return tuple(
        sorted(kept, key=lambda each: (str(each.metadata.get("time", "")), each.document, each.start))
    )


def _is_said(passage: Passage, said: Sequence[str]) -> bool:
    """Whether the conversation still has this turn among its messages."""
    text = passage.text.removeprefix(_EARLIER_QUESTION).removeprefix(_QUESTION)
    words = " ".join(text.split("\n\n", 1)[0].split())[:_COMPARED_CHARACTERS]
    return bool(words) and any(words in text for text in said)
