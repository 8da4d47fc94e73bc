"""The way of a request event through the router: decide, admit, reserve its cost, record, enqueue; or reject."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from penstock.bus import trace_names as names
from penstock.bus.large_bodies import BodyDiffers, BodyLost, read_body
from penstock.bus.tracing import Span, Tracer
from penstock.contract import headers, subjects
from penstock.contract.errors import ERRORS, ErrorCode
from penstock.contract.streams import MAX_BODY_BYTES
from penstock.contract.subjects import ReplyAddress
from penstock.contract.work import ChatWork
from penstock.runtime.byte_budget import ByteBudget
from penstock.runtime.consumer.dead_letters import store_dead_letter
from penstock.runtime.consumer.delivery import ACK, Delivery, Unprocessable, Verdict
from penstock.runtime.jobs.completion import failure_of
from penstock.runtime.service import Bus
from penstock.runtime.telemetry.logs import set_trace
from services.router.admission.gate import AdmissionGate, QueueReservation
from services.router.admission.wait_estimate import WaitEstimate
from services.router.budget.gate import BudgetGate
from services.router.decision import Decision
from services.router.jobs.recorder import JobRecorder
from services.router.metrics import RouterMetrics
from services.router.queues.enqueue import enqueue
from services.router.rejection import Rejecter
from services.router.routing.bodies import BodyFeatures, extract_stored_features
from services.router.routing.decide import rejection_of
from services.router.routing.inbound import InboundRequest, address_of, job_of
from services.router.routing.outcome import (
    AlreadyAccepted,
    BodyNeeded,
    Enqueued,
    InvalidRequest,
    Outcome,
    Rejected,
    Routed,
)

__all__ = ["Gates", "RequestHandler", "RouterTelemetry"]

_log: Final = logging.getLogger(__name__)
_ROUTER: Final = "router"
_BODIES_BYTES: Final = 2 * MAX_BODY_BYTES
"""Bytes of stored bodies in memory at once."""
_LOST_RETRY_S: Final = 1.0


class RouterTelemetry(Struct, frozen=True):
    metrics: RouterMetrics
    tracer: Tracer


class Gates(Struct, frozen=True):
    """What a request must pass before it is queued."""

    admission: AdmissionGate
    budget: BudgetGate | None
    """None: there are no budgets."""


class RequestHandler:
    def __init__(
        self,
        bus: Bus,
        decision: Decision,
        gates: Gates,
        recorder: JobRecorder,
        rejecter: Rejecter,
        telemetry: RouterTelemetry,
    ) -> None:
        self._bus = bus
        self._decision = decision
        self._gates = gates
        self._recorder = recorder
        self._rejecter = rejecter
        self._metrics = telemetry.metrics
        self._tracer = telemetry.tracer
        self._bodies = ByteBudget(_BODIES_BYTES)

    async def handle(self, delivery: Delivery) -> Verdict:
        """Decide on a request event, then accept or reject it."""
        began_s = time.perf_counter()
        error: str | None = None
        span = self._start_span(delivery)
        set_trace(span.traceparent)
        trace = {} if span.traceparent is None else {headers.TRACEPARENT: span.traceparent}
        inbound = _inbound(delivery)
        is_large = False
        try:
            decided = await self._decision.decide(inbound)
            is_large = isinstance(decided, BodyNeeded)
            outcome: Routed | Outcome = await self._with_body(inbound, decided)
            if isinstance(outcome, Routed):
                _describe(span, outcome.work)
                outcome = await self._accept(outcome, trace, repeated=inbound.repeated)
            if isinstance(outcome, Rejected):
                error = outcome.code
            return await self._conclude(outcome, trace, redelivered=inbound.redelivered, is_large=is_large)
        finally:
            span.end(error=error)
            self._metrics.duration.observe(time.perf_counter() - began_s)

    async def _with_body(
        self, inbound: InboundRequest, decided: Routed | Rejected | BodyNeeded
    ) -> Routed | Rejected:
        """The decision; where it needs a stored body, that is read first."""
        if not isinstance(decided, BodyNeeded):
            return decided
        try:
            features = await self._features(decided)
        except InvalidRequest as error:
            return rejection_of(inbound, error)
        again = await self._decision.decide(replace(inbound, stored_features=features))
        assert not isinstance(again, BodyNeeded)  # noqa: S101 - the features are all that it needs of the body
        return again

    async def _features(self, needed: BodyNeeded) -> BodyFeatures:
        """Extracted in a thread: that takes up to a second for 64 MB. Raises InvalidRequest."""
        async with self._bodies.hold(needed.ref.size):
            try:
                body = await read_body(self._bus.nc, needed.address, needed.ref)
            except BodyLost as error:
                message = f"the body of the request is not stored any more ({error}): send the request again"
                raise InvalidRequest(message, "internal", _LOST_RETRY_S) from error
            except BodyDiffers as error:
                raise InvalidRequest(str(error)) from error
            return await asyncio.to_thread(extract_stored_features, needed.kind, body)

    async def _accept(self, routed: Routed, trace: dict[str, str], *, repeated: bool) -> Outcome:
        """Reserve a place in the mailbox and the cost, then record and enqueue the request."""
        accepted_before = repeated and await self._recorder.was_accepted(routed.work)
        admitted = await self._gates.admission.admit(routed, accepted_before=accepted_before)
        if isinstance(admitted, Rejected):
            return self._recorder.with_job(admitted, routed.work)
        with admitted:
            outcome = await self._reserve_and_enqueue(
                _with_estimate(routed, admitted.estimate),
                admitted,
                trace,
                repeated=repeated,
                accepted_before=accepted_before,
            )
        return self._recorder.with_job(outcome, routed.work) if isinstance(outcome, Rejected) else outcome

    async def _reserve_and_enqueue(
        self,
        routed: Routed,
        reservation: QueueReservation,
        trace: dict[str, str],
        *,
        repeated: bool,
        accepted_before: bool,
    ) -> Outcome:
        """Reserve the cost of the request, then enqueue it. A hold of which nothing will be spent is released.

        An index request has no cost of its own: the embed requests of the indexer do.
        """
        budget = None if routed.work.kind == "index" else self._gates.budget
        reserved: Routed | Rejected = routed
        if budget is not None:
            reserved = (
                budget.reserved_before(routed) if accepted_before else await budget.reserve(routed, trace)
            )
        if isinstance(reserved, Rejected):
            return reserved
        outcome = await self._enqueue(
            reserved, reservation, trace, repeated=repeated, accepted_before=accepted_before
        )
        if budget is None or reserved.work.hold_id is None:
            return outcome
        if isinstance(outcome, Rejected):
            return replace(outcome, held=True)
        goes_on = accepted_before or (isinstance(outcome, Enqueued) and outcome.new)
        if not goes_on and await self._recorder.has_ended(reserved.work):
            await budget.releases.release(reserved.work.reply_to, "invalid_request", trace)
        return outcome

    async def _enqueue(
        self,
        routed: Routed,
        reservation: QueueReservation,
        trace: dict[str, str],
        *,
        repeated: bool,
        accepted_before: bool,
    ) -> Outcome:
        """Write a job's record, then store the work in its mailbox."""
        work = routed.work
        created = await self._recorder.record(work, trace, accepted_before=accepted_before)
        if isinstance(created, AlreadyAccepted | Rejected):
            return created
        stored = await enqueue(self._bus, routed, reservation.subject, trace, repeated=repeated)
        if isinstance(stored, Rejected):
            return replace(stored, recorded=created)
        reservation.commit()
        if not stored.new:
            await self._recorder.end_if_id_taken(work)
        return stored

    async def _conclude(
        self, outcome: Routed | Outcome, trace: dict[str, str], *, redelivered: bool, is_large: bool
    ) -> Verdict:
        match outcome:
            case Enqueued(work):
                self._metrics.routed.labels(work.role, work.complexity, work.lane).inc()
            case Rejected(reply_to=None):
                return Unprocessable(outcome.code, outcome.message)
            case Rejected(reply_to=ReplyAddress() as address):
                retry = await self._rejecter.reject(
                    outcome, address, trace, redelivered=redelivered, is_large=is_large
                )
                if retry is not None:
                    return retry
                self._metrics.rejected.labels(outcome.code).inc()
                _log_rejection(outcome.code, outcome.message, address)
        return ACK

    async def dead_letter(self, delivery: Delivery, dead: Unprocessable) -> None:
        """Store the dead letter, then end the request if the message has a reply address."""
        self._metrics.rejected.labels(dead.code).inc()
        inbound = _inbound(delivery)
        address = address_of(inbound)
        _log_rejection(dead.code, f"dead-lettered: {dead.message}", address)
        await store_dead_letter(self._bus.js, _ROUTER, delivery, dead)
        self._metrics.dead.labels(_ROUTER).inc()
        if address is not None:
            failure = failure_of(dead.code, dead.message)
            await self._rejecter.end_dead_letter(address, failure, job_of(inbound))

    def _start_span(self, delivery: Delivery) -> Span:
        return self._tracer.start(
            names.SPAN_ROUTER,
            "consumer",
            parent=delivery.headers.get(headers.TRACEPARENT),
            attributes={
                names.MESSAGING_SYSTEM: names.NATS,
                names.MESSAGING_OPERATION_NAME: "process",
                names.DESTINATION_TEMPLATE: subjects.REQUEST,
                names.DELIVERY: delivery.number,
            },
        )


def _inbound(delivery: Delivery) -> InboundRequest:
    return InboundRequest(
        subject=delivery.subject,
        data=delivery.data,
        headers=delivery.headers,
        stored_ms=delivery.stored_ns // 1_000_000,
        repeated=delivery.number > 1 or headers.REPEATED in delivery.headers,
        redelivered=delivery.number > 1,
    )


def _with_estimate(routed: Routed, estimate: WaitEstimate | None) -> Routed:
    """The request with its queue position and estimated wait in `accepted`."""
    if estimate is None:
        return routed
    wait_s = None if estimate.wait_s is None else round(estimate.wait_s, 1)
    accepted = replace(routed.accepted, queue_position=estimate.position, estimated_wait_s=wait_s)
    return replace(routed, accepted=accepted)


def _describe(span: Span, work: ChatWork) -> None:
    span.set(names.REQUEST_ID, work.id)
    span.set(names.ACCOUNT, work.account)
    span.set(names.ROLE, work.role)
    span.set(names.COMPLEXITY, work.complexity)
    span.set(names.WHY, work.why)


def _log_rejection(code: ErrorCode, message: str, address: ReplyAddress | None) -> None:
    """One log line for each request that ends here (J4); the message names fields, never content."""
    fields: dict[str, object] = {"error": code, "reason": message}
    if address is not None:
        fields |= {"request": address.id, "account": address.account}
    _log.log(getattr(logging, ERRORS[code].level.upper()), "request rejected", extra={"fields": fields})
