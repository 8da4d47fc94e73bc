"""One index request from its delivery to the stored terminal event."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import msgspec
import nats.errors
from msgspec import Raw, Struct

from penstock.bus import trace_names as names
from penstock.bus.clock import Clock, loop_now_s
from penstock.bus.tracing import Span, Tracer
from penstock.contract import headers, subjects
from penstock.contract.errors import ERRORS
from penstock.contract.jobs import JobResult
from penstock.contract.names import INDEX
from penstock.contract.reply import Completed, Failed, Timings, Usage
from penstock.contract.retrieval.documents import IndexBody, IndexReport
from penstock.contract.work import ChatWork
from penstock.runtime.accounting.prior_attempts import PriorAttempts
from penstock.runtime.cancellation import CancellableRequests
from penstock.runtime.consumer.delivery import ACK, Delivery, Verdict
from penstock.runtime.jobs.completion import failure_of
from penstock.runtime.redelivery.job_record import JobRecords
from penstock.runtime.redelivery.superseded import verdict_on_superseded
from penstock.runtime.reply_publisher import AnnouncedAttempt, Position, ReplyPublisher, Superseded
from penstock.runtime.service import Bus
from services.indexer.collections.names import InvalidCollection, collection_of_request, is_memory
from services.indexer.collections.records import RecordsUnavailable
from services.indexer.documents.document import ExtractionUnavailable
from services.indexer.embedding.gateway import Caller, EmbeddingFailed
from services.indexer.embedding.models import UnusableModel
from services.indexer.indexing.collection_indexer import CollectionIndexer, IndexTask
from services.indexer.indexing.counts import Counts
from services.indexer.metrics import IndexerMetrics
from services.indexer.requests.bodies import RequestBodies
from services.indexer.requests.checked_work import version_of
from services.indexer.requests.outcome import GaveUp
from services.indexer.requests.progress import ProgressReporter
from services.indexer.store.errors import StoreError, StoreUnavailable

__all__ = ["Runner"]

_log: Final = logging.getLogger(__name__)
_RETRY_S: Final = 0.5
_LONGEST_RETRY_S: Final = 10.0
_UNAVAILABLE_S: Final = 300.0
"""Seconds for which a request waits for a store that cannot be reached."""
_CLOCK_S: Final = 0.05
"""A timer of the loop may fire early by less."""
_TRANSIENT: Final = (StoreUnavailable, RecordsUnavailable, ExtractionUnavailable, nats.errors.Error)

_Result = TypeVar("_Result")


class _Request(Struct):
    """One request while it runs."""

    work: ChatWork
    delivery: Delivery
    reply: ReplyPublisher
    span: Span
    deadline_s: float
    started_s: float
    queued_ms: float
    counts: Counts
    on_written: Callable[[], None]


class Runner(Struct, frozen=True):
    bus: Bus
    instance: str
    indexer: CollectionIndexer
    bodies: RequestBodies
    job_records: JobRecords
    cancellable: CancellableRequests
    metrics: IndexerMetrics
    tracer: Tracer
    clock: Clock

    async def run(
        self, work: ChatWork, prior: PriorAttempts, delivery: Delivery, on_written: Callable[[], None]
    ) -> Verdict:
        """`on_written` is called when other requests may change the collection."""
        request = self._started(work, prior, delivery, on_written)
        outcome: str | None = "interrupted"
        try:
            await self._claim(request)
            event = await self._terminal_event(request)
            if delivery.may_be_redelivered(loop_now_s()):
                await request.reply.confirm()
            await self._finish(request, event)
            outcome = event.error.code if isinstance(event, Failed) else None
        except Superseded as superseded:
            outcome = "superseded"
            return await verdict_on_superseded(superseded, delivery, request.reply)
        finally:
            request.span.end(error=outcome)
        return ACK

    def _started(
        self, work: ChatWork, prior: PriorAttempts, delivery: Delivery, on_written: Callable[[], None]
    ) -> _Request:
        parent = delivery.headers.get(headers.TRACEPARENT)
        span = self.tracer.start(
            names.SPAN_INDEX,
            "consumer",
            parent=parent,
            attributes={
                names.MESSAGING_SYSTEM: names.NATS,
                names.MESSAGING_OPERATION_NAME: "process",
                names.DESTINATION_TEMPLATE: subjects.WORK,
                names.REQUEST_ID: work.id,
                names.ROLE: work.role,
                names.LANE: work.lane,
                names.DELIVERY: delivery.number,
            },
        )
        trace = None if span.traceparent is None else {headers.TRACEPARENT: span.traceparent}
        position = Position(attempt=prior.attempt, next_seq=prior.next_seq)
        now_s, now_ms = loop_now_s(), self.clock.steady_ms(work.accepted_ms)
        return _Request(
            work=work,
            delivery=delivery,
            reply=ReplyPublisher(self.bus, work.reply_to, position, trace),
            span=span,
            deadline_s=now_s + (work.deadline_ms - now_ms) / 1000,
            started_s=now_s,
            queued_ms=round(now_ms - work.accepted_ms, 3),
            counts=Counts(),
            on_written=on_written,
        )

    async def _claim(self, request: _Request) -> None:
        """Begin the next attempt: of two processes with the same message, only one can. Raises Superseded."""
        announced = AnnouncedAttempt(model="", provider="", worker=self.instance, at_ms=self.clock.unix_ms())
        await request.reply.begin_attempt(announced)
        if request.work.lane == "batch":
            await self.job_records.begin_attempt(
                request.work, request.delivery.sequence, request.reply.attempt, announced
            )

    async def _terminal_event(self, request: _Request) -> Completed | Failed:
        try:
            with self.cancellable.entered(request.work):
                report = await self._report(request)
        except GaveUp as gave_up:
            return self._failed(request, gave_up)
        return self._completed(request, report)

    async def _report(self, request: _Request) -> IndexReport:
        """Raises GaveUp."""
        work = request.work
        try:
            collection = collection_of_request(work.account, work.collection, work.user)
        except InvalidCollection as error:
            raise GaveUp("invalid_request", str(error)) from error
        try:
            async with (
                asyncio.timeout_at(request.deadline_s) as limit,
                self.bodies.read(work, request.deadline_s) as body,
            ):
                if body.drop_conversation and not is_memory(collection):
                    raise GaveUp("invalid_request", f"{collection!r} has no conversations to drop")
                return await self._indexed(request, collection, body)
        except UnusableModel as error:
            raise GaveUp("invalid_request", str(error)) from error
        except EmbeddingFailed as error:
            raise GaveUp(error.code, str(error), error.retry_after_s) from error
        except (*_TRANSIENT, TimeoutError) as error:
            if limit.expired():
                message = "the deadline passed; what was indexed or removed by then stays so"
                raise GaveUp("deadline_exceeded", message) from error
            why = error.for_clients if isinstance(error, StoreError) else error
            message = f"documents cannot be indexed now: {why}"
            raise GaveUp("retrieval_unavailable", message, _LONGEST_RETRY_S) from error
        except StoreError as error:
            _log.exception("the store cannot be used")
            raise GaveUp("internal", error.for_clients) from error

    async def _indexed(self, request: _Request, collection: str, body: IndexBody) -> IndexReport:
        work, counts = request.work, request.counts
        counts.documents = len(body.documents)

        async def send() -> None:
            await request.reply.index_progress(
                documents=counts.documents,
                done=min(counts.done, counts.documents),
                chunks=counts.chunks,
                embedded=counts.costs.embedded,
                from_cache=counts.from_cache,
            )

        progress = ProgressReporter(send)
        task = IndexTask(
            collection=collection,
            version=version_of(work, request.delivery.sequence, self.clock.unix_ms()),
            body=body,
            caller=Caller(
                account=work.account,
                user=work.user,
                key=work.key,
                traceparent=request.span.traceparent,
                until_s=request.deadline_s,
                store=not is_memory(collection),
            ),
            counts=counts,
            on_progress=progress.note,
            on_written=request.on_written,
            repeated=request.reply.attempt > 1,
        )
        async with progress.sending():
            try:
                return await _while_unavailable(lambda: self.indexer.index(task), request.deadline_s)
            except asyncio.CancelledError:
                # Where this process stops, another one goes on with the change of model.
                is_late = loop_now_s() + _CLOCK_S >= request.deadline_s
                if is_late or self.cancellable.is_cancelled(work):
                    await self.indexer.abandon_model_change(task)
                raise

    async def abandon_model_change(self, work: ChatWork, delivery: Delivery) -> None:
        """Undo the change of model of a request that is a dead letter. Where the store or the body of the request
        cannot be read, the table stays until the next change of model.
        """
        until_s = loop_now_s() + _LONGEST_RETRY_S
        try:
            collection = collection_of_request(work.account, work.collection, work.user)
            async with asyncio.timeout_at(until_s), self.bodies.read(work, until_s) as body:
                task = IndexTask(
                    collection=collection,
                    version=version_of(work, delivery.sequence, self.clock.unix_ms()),
                    body=body,
                    caller=Caller(account=work.account, until_s=until_s),
                    counts=Counts(),
                    on_progress=lambda: None,
                )
                await self.indexer.abandon_model_change(task)
        except (GaveUp, InvalidCollection, TimeoutError, nats.errors.Error) as error:
            _log.warning("the request of a dead letter cannot be read: %r", error)

    async def _finish(self, request: _Request, event: Completed | Failed) -> None:
        """Store the job record and the terminal event, both before the acknowledgement."""
        work = request.work
        end: Completed | Failed | None = event
        if work.lane == "batch":
            result = JobResult(completed=event) if isinstance(event, Completed) else None
            end = await self.job_records.end(work, request.delivery.sequence, event, result)
        if end is not None:
            await request.reply.finish(end)
        await self.bodies.delete(work)
        code = event.error.code if isinstance(event, Failed) else None
        self.metrics.count_end(code, request.counts, loop_now_s() - request.started_s)
        self._log_end(request, event, code)

    def _completed(self, request: _Request, report: IndexReport) -> Completed:
        request_id, seq, attempt = request.reply.terminal_position()
        return Completed(
            id=request_id,
            seq=seq,
            attempt=attempt,
            role=INDEX,
            model=report.model,
            provider="",
            finish_reason="stop",
            usage=Usage(input_tokens=report.tokens),
            cost_microusd=report.cost_microusd,
            unpriced_attempts=report.unpriced_attempts,
            timings=self._timings(request),
            response=Raw(msgspec.json.encode(report)),
        )

    def _failed(self, request: _Request, gave_up: GaveUp) -> Failed:
        request_id, seq, attempt = request.reply.terminal_position()
        failure = failure_of(gave_up.code, str(gave_up), gave_up.retry_after_s)
        return Failed(id=request_id, seq=seq, attempt=attempt, error=failure, timings=self._timings(request))

    def _timings(self, request: _Request) -> Timings:
        total_ms = round(self.clock.steady_ms(request.work.accepted_ms) - request.work.accepted_ms, 3)
        return Timings(queued_ms=request.queued_ms, total_ms=max(0.0, total_ms))

    def _log_end(self, request: _Request, event: Completed | Failed, code: str | None) -> None:
        """One line per request, never with content (J4)."""
        counts = request.counts
        fields: dict[str, object] = {
            "request": request.work.id,
            "account": request.work.account,
            "role": INDEX,
            "attempt": event.attempt,
            "latency_ms": self._timings(request).total_ms,
            "error": code,
            "documents": counts.documents,
            "chunks": counts.chunks,
            "embedded": counts.costs.embedded,
            "refused": len(counts.refused),
        }
        level = logging.INFO
        if isinstance(event, Failed):
            level = getattr(logging, ERRORS[event.error.code].level.upper())
        _log.log(level, "request ended", extra={"fields": fields})


async def _while_unavailable(call: Callable[[], Awaitable[_Result]], deadline_s: float) -> _Result:
    """Repeat the call while the store, JetStream or a child process is not available, for some minutes."""
    give_up_s = min(deadline_s, loop_now_s() + _UNAVAILABLE_S)
    wait_s = _RETRY_S
    while True:
        try:
            return await call()
        except _TRANSIENT as error:
            if loop_now_s() + wait_s >= give_up_s:
                raise
            _log.warning("an index request waits for what is not available now: %r", error)
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, _LONGEST_RETRY_S)
