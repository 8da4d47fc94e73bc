"""Work message → request → verdict; question → answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import nats.errors
from msgspec import Struct
from msgspec.structs import replace
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from penstock.bus import trace_names as names
from penstock.bus.clock import Clock, loop_now_s
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.nats_patches import unsubscribe_at_server
from penstock.bus.tracing import Span, Tracer
from penstock.contract import codec, subjects
from penstock.contract.headers import TRACEPARENT
from penstock.contract.names import INDEX
from penstock.contract.retrieval import subjects as retrieval_subjects
from penstock.contract.retrieval.search import (
    DocumentsReport,
    SearchAnswer,
    SearchFailed,
    SearchRequest,
)
from penstock.contract.work import ChatWork
from penstock.runtime.aio import cancel_and_wait
from penstock.runtime.cancellation import CancellableRequests
from penstock.runtime.consumer.delivery import ACK, Delivery, Redeliver, Unprocessable, Verdict
from penstock.runtime.consumer.work_message import InvalidWork
from penstock.runtime.redelivery.dead_request import DeadRequests
from penstock.runtime.redelivery.job_record import JobRecords
from penstock.runtime.redelivery.prior_attempts_reader import PriorAttemptsReader
from services.indexer.collections.records import RecordsUnavailable
from services.indexer.metrics import IndexerMetrics
from services.indexer.requests.bodies import RequestBodies
from services.indexer.requests.checked_work import read_work
from services.indexer.requests.outcome import GaveUp
from services.indexer.requests.run import Runner
from services.indexer.requests.scheduler import RequestScheduler, ScheduledRequest, Stopping
from services.indexer.search.listing import Listing
from services.indexer.search.lookup import SearchRefused
from services.indexer.search.message_size import fits, fitting_answer, fitting_report
from services.indexer.search.question_places import QuestionPlaces
from services.indexer.search.searcher import AccountQuery, Searcher
from services.indexer.store.errors import StoreError

__all__ = ["SearchHandler", "WorkHandler"]

_log: Final = rate_limited_logger(__name__)
_QUEUE: Final = "indexer"
"""The queue group: one of the running indexers gets each question."""
_MAX_QUESTIONS: Final = 512
"""Questions of all accounts that are answered or wait for a vector at once; further ones are refused as overloaded."""
_MAX_ANSWER_S: Final = 60.0
"""Seconds after which any question is answered with an error, whatever time the caller would wait."""
_FLUSH_S: Final = 2
"""Seconds to wait for the server to confirm the end of a subscription, during a stop."""
_ENVELOPE_BYTES: Final = 64 * 1024
"""Part of the largest message that answers leave free, for headers and protocol."""
_ANY_ACCOUNT: Final = "*"
_RETURNED: Final = Redeliver(1.0)
"""For a request that was not begun. Until then this process has withdrawn its pull requests."""


class WorkHandler(Struct, frozen=True):
    """Handles the messages of both mailboxes."""

    prior_attempts: PriorAttemptsReader
    job_records: JobRecords
    runner: Runner
    dead_requests: DeadRequests
    bodies: RequestBodies
    scheduler: RequestScheduler
    cancellable: CancellableRequests
    clock: Clock
    metrics: IndexerMetrics
    max_attempts: int
    """A message is delivered more often: also when a process stops while it waits for a slot."""

    async def handle(self, delivery: Delivery) -> Verdict:
        try:
            work = read_work(delivery.subject, delivery.data)
        except InvalidWork as error:
            return Unprocessable("invalid_request", f"the message is not valid work: {error}")
        async with self.scheduler.enter(work) as request:
            try:
                await self._wait(request, work)
            except Stopping:
                return _RETURNED
            prior = await self.prior_attempts.read(delivery, work.reply_to.subject)
            if work.lane == "batch":
                prior = await self.job_records.prior_attempts(work, delivery, prior)
            if prior.ended:
                await self.bodies.delete(work)  # the earlier process may have died before it did
                return ACK
            if prior.attempt >= self.max_attempts:
                return Unprocessable("undeliverable", f"begun {prior.attempt} times without an end")
            return await self.runner.run(
                work, prior, delivery, lambda: self.scheduler.leave_collection(request)
            )

    async def _wait(self, request: ScheduledRequest, work: ChatWork) -> None:
        """Until the request may begin. One that is cancelled or late meanwhile begins, and ends at once."""
        left_s = work.deadline_ms / 1000 - self.clock.unix_s()
        with contextlib.suppress(GaveUp, TimeoutError), self.cancellable.entered(work):
            async with asyncio.timeout(left_s):
                await request.begins

    async def dead_letter(self, delivery: Delivery, dead: Unprocessable) -> None:
        await self.dead_requests.end(INDEX, delivery, dead)
        self.metrics.dead.inc()
        self.metrics.requests.labels(dead.code).inc()
        with contextlib.suppress(InvalidWork):
            await self.runner.abandon_model_change(read_work(delivery.subject, delivery.data), delivery)


class SearchHandler:
    """Answers searches, and lists of documents and collections. The account is that of the subject, whatever the
    message says.
    """

    def __init__(
        self, nc: Nats, searcher: Searcher, listing: Listing, metrics: IndexerMetrics, tracer: Tracer
    ) -> None:
        self._nc = nc
        self._searcher = searcher
        self._listing = listing
        self._metrics = metrics
        self._tracer = tracer
        self._running: set[asyncio.Task[None]] = set()
        self._places = QuestionPlaces(_MAX_QUESTIONS)
        self._subscriptions: list[Subscription] = []

    async def start(self) -> None:
        answers: tuple[tuple[str, Callable[[str, Msg], Awaitable[msgspec.Struct]]], ...] = (
            (retrieval_subjects.search(_ANY_ACCOUNT), self._search),
            (retrieval_subjects.documents(_ANY_ACCOUNT), self._documents),
            (retrieval_subjects.collections(_ANY_ACCOUNT), self._collections),
        )
        for subject, answer in answers:
            self._subscriptions.append(await self._subscribe(subject, answer))

    async def stop(self, within_s: float) -> None:
        """Take no more questions, and answer those that came."""
        for subscription in self._subscriptions:
            with contextlib.suppress(nats.errors.Error, TimeoutError):  # without a connection nothing arrives
                await unsubscribe_at_server(self._nc, subscription)
                await self._nc.flush(_FLUSH_S)
            while subscription.pending_msgs:  # noqa: ASYNC110 - nats-py has no event for it
                await asyncio.sleep(0)
            with contextlib.suppress(nats.errors.Error):
                await subscription.unsubscribe()
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=within_s)
            await cancel_and_wait(*late)

    async def _subscribe(
        self, subject: str, answer: Callable[[str, Msg], Awaitable[msgspec.Struct]]
    ) -> Subscription:
        async def on_message(msg: Msg) -> None:
            if not msg.reply:
                return
            account = msg.subject.rpartition(".")[2]
            if not self._places.enter(account):
                self._metrics.dropped.labels("full").inc()
                message = f"{self._places.taken} questions are being answered already"
                await self._send(msg, SearchFailed(code="overloaded", message=message, retry_after_s=1.0))
                return
            task = asyncio.create_task(self._answer(msg, answer))
            self._running.add(task)
            task.add_done_callback(lambda done: self._end(done, account))

        return await self._nc.subscribe(subject, queue=_QUEUE, cb=on_message)

    def _end(self, task: asyncio.Task[None], account: str) -> None:
        self._running.discard(task)
        self._places.leave(account)

    async def _answer(self, msg: Msg, answer: Callable[[str, Msg], Awaitable[msgspec.Struct]]) -> None:
        found: msgspec.Struct
        account = msg.subject.rpartition(".")[2]
        if not subjects.is_token(account):
            message = "the account in the subject is not valid"
            await self._send(msg, SearchFailed(code="invalid_request", message=message))
            return
        try:
            found = await answer(account, msg)
        except SearchRefused as refused:
            found = SearchFailed(code=refused.code, message=str(refused), retry_after_s=refused.retry_after_s)
        except codec.INVALID as error:
            self._metrics.dropped.labels("malformed").inc()
            found = SearchFailed(code="invalid_request", message=f"the question cannot be read: {error}")
        except (StoreError, RecordsUnavailable) as error:
            _log.warning("a question cannot be answered now: %r", error)
            found = SearchFailed(code="retrieval_unavailable", message=str(error), retry_after_s=1.0)
        except TimeoutError:
            found = SearchFailed(
                code="retrieval_unavailable", message="the answer took too long", retry_after_s=1.0
            )
        except Exception:  # noqa: BLE001 - a fault in one answer stops no other one
            _log.exception("a question could not be answered")
            found = SearchFailed(code="internal", message="a fault in the indexer; its log has the details")
        await self._send(msg, found)

    async def _send(self, msg: Msg, answer: msgspec.Struct) -> None:
        with contextlib.suppress(nats.errors.Error):  # the sender asks again
            await self._nc.publish(msg.reply, codec.encode(answer))

    async def _search(self, account: str, msg: Msg) -> SearchAnswer:
        request = codec.SEARCH_REQUEST.decode(msg.data)
        span = self._tracer.start(
            names.SPAN_SEARCH, "server", parent=(msg.headers or {}).get(TRACEPARENT), attributes={}
        )
        began_s, outcome = loop_now_s(), "internal"
        query = AccountQuery(account, request, span.traceparent, began_s)
        try:
            async with asyncio.timeout(min(max(request.timeout_s, 0.0), _MAX_ANSWER_S)):
                answer = await self._fitting(query)
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

    async def _fitting(self, query: AccountQuery) -> SearchAnswer:
        """An answer that fits a message."""
        max_bytes = self._nc.max_payload - _ENVELOPE_BYTES
        answer = await self._searcher.search(query)
        if answer.whole and not fits(answer, max_bytes):
            answer = await self._searcher.search(
                AccountQuery(
                    query.account,
                    replace(query.request, whole_tokens=None),
                    query.traceparent,
                    query.began_s,
                )
            )
        return fitting_answer(answer, max_bytes)

    async def _documents(self, account: str, msg: Msg) -> DocumentsReport:
        query = codec.DOCUMENTS_QUERY.decode(msg.data)
        async with asyncio.timeout(_MAX_ANSWER_S):
            report = await self._listing.documents(account, query)
        return fitting_report(report, self._nc.max_payload - _ENVELOPE_BYTES)

    async def _collections(self, account: str, msg: Msg) -> msgspec.Struct:
        query = codec.COLLECTIONS_QUERY.decode(msg.data)
        async with asyncio.timeout(_MAX_ANSWER_S):
            return await self._listing.collections(account, query)


def _describe(span: Span, answer: SearchAnswer) -> None:
    """What was found, never its text."""
    span.set(names.PASSAGES, len(answer.passages))
    span.set(names.BEST_SCORE, max((each.score for each in answer.passages), default=0.0))
