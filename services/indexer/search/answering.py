"""The answer to each question: found in time, cut to the size of a message, and counted. A failure is one as well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from msgspec import Struct

from penstock.bus import trace_names as names
from penstock.bus.clock import loop_now_s
from penstock.bus.freezes import AwakeTimeout
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.tracing import Span, Tracer
from penstock.contract import codec, subjects
from penstock.contract.retrieval.search import (
    DocumentsReport,
    SearchAnswer,
    SearchFailed,
    SearchRequest,
)
from services.indexer.collections.records import RecordsUnavailable
from services.indexer.metrics import IndexerMetrics
from services.indexer.search.listing import Listing
from services.indexer.search.lookup import SearchRefused
from services.indexer.search.message_size import fitting_report
from services.indexer.search.searcher import AccountQuery, Searcher
from services.indexer.store.errors import StoreError

__all__ = ["Answers", "Asked"]

_log: Final = rate_limited_logger(__name__)
_MAX_ANSWER_S: Final = 60.0
"""Seconds after which any question is answered with an error, whatever time the caller would wait."""
_ENVELOPE_BYTES: Final = 64 * 1024
"""Part of the largest message that answers leave free, for headers and protocol."""


class Asked(Struct, frozen=True):
    """A question as it came."""

    account: str
    data: bytes
    traceparent: str | None = None


class Answers:
    def __init__(
        self,
        searcher: Searcher,
        listing: Listing,
        metrics: IndexerMetrics,
        tracer: Tracer,
        max_payload: Callable[[], int],
    ) -> None:
        """`max_payload`: bytes of the largest message that the server takes now."""
        self._searcher = searcher
        self._listing = listing
        self._metrics = metrics
        self._tracer = tracer
        self._max_payload = max_payload

    @property
    def _max_bytes(self) -> int:
        return self._max_payload() - _ENVELOPE_BYTES

    def overloaded(self, taken: int) -> SearchFailed:
        """`taken`: how many questions are being answered."""
        self._metrics.dropped.labels("full").inc()
        message = f"{taken} questions are being answered already"
        return SearchFailed(code="overloaded", message=message, retry_after_s=1.0)

    async def search(self, asked: Asked) -> msgspec.Struct:
        return await self._answer(self._search, asked)

    async def documents(self, asked: Asked) -> msgspec.Struct:
        return await self._answer(self._documents, asked)

    async def collections(self, asked: Asked) -> msgspec.Struct:
        return await self._answer(self._collections, asked)

    async def _answer(
        self, answer: Callable[[Asked], Awaitable[msgspec.Struct]], asked: Asked
    ) -> msgspec.Struct:
        if not subjects.is_token(asked.account):
            return SearchFailed(code="invalid_request", message="the account in the subject is not valid")
        try:
            return await answer(asked)
        except SearchRefused as refused:
            failed = SearchFailed(
                code=refused.code, message=str(refused), retry_after_s=refused.retry_after_s
            )
        except codec.INVALID as error:
            self._metrics.dropped.labels("malformed").inc()
            failed = SearchFailed(code="invalid_request", message=f"the question cannot be read: {error}")
        except (StoreError, RecordsUnavailable) as error:
            _log.warning("a question cannot be answered now: %r", error)
            message = error.for_clients if isinstance(error, StoreError) else str(error)
            failed = SearchFailed(code="retrieval_unavailable", message=message, retry_after_s=1.0)
        except TimeoutError:
            failed = SearchFailed(
                code="retrieval_unavailable", message="the answer took too long", retry_after_s=1.0
            )
        except Exception:  # noqa: BLE001 - a fault in one answer stops no other one
            _log.exception("a question could not be answered")
            failed = SearchFailed(code="internal", message="a fault in the indexer; its log has the details")
        return failed

    async def _search(self, asked: Asked) -> SearchAnswer:
        request = codec.SEARCH_REQUEST.decode(asked.data)
        span = self._tracer.start(names.SPAN_SEARCH, "server", parent=asked.traceparent, attributes={})
        began_s, outcome = loop_now_s(), "internal"
        query = AccountQuery(asked.account, request, span.traceparent, began_s, self._max_bytes)
        try:
            async with AwakeTimeout(min(max(request.timeout_s, 0.0), _MAX_ANSWER_S)):
                answer = await self._searcher.search(query)
            outcome = "found" if answer.passages else "nothing_found"
        except SearchRefused as refused:
            outcome = refused.code
            raise
        except (StoreError, RecordsUnavailable, TimeoutError):
            outcome = "retrieval_unavailable"
            raise
        finally:
            self._record(request, span, outcome, loop_now_s() - began_s)
        self._metrics.passages.inc(len(answer.passages))
        if not answer.model and not answer.whole and request.mode == "hybrid" and request.collection:
            self._metrics.without_vector.inc()
        _describe(span, answer)
        span.end()
        return answer

    def _record(self, request: SearchRequest, span: Span, outcome: str, took_s: float) -> None:
        self._metrics.searches.labels(request.mode, outcome).inc()
        self._metrics.search_duration.labels(request.mode).observe(took_s)
        if outcome not in {"found", "nothing_found"}:
            span.end(error=outcome)

    async def _documents(self, asked: Asked) -> DocumentsReport:
        query = codec.DOCUMENTS_QUERY.decode(asked.data)
        async with AwakeTimeout(_MAX_ANSWER_S):
            report = await self._listing.documents(asked.account, query)
        return fitting_report(report, self._max_bytes)

    async def _collections(self, asked: Asked) -> msgspec.Struct:
        query = codec.COLLECTIONS_QUERY.decode(asked.data)
        async with AwakeTimeout(_MAX_ANSWER_S):
            return await self._listing.collections(asked.account, query)


def _describe(span: Span, answer: SearchAnswer) -> None:
    """What was found, never its text."""
    span.set(names.PASSAGES, len(answer.passages))
    span.set(names.BEST_SCORE, max((each.score for each in answer.passages), default=0.0))
