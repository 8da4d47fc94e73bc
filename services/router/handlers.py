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
from penstock.bus.tracing import NO_SPAN, Attributes, Span, Tracer
from penstock.contract import headers, subjects
from penstock.contract.errors import ERRORS, ErrorCode
from penstock.contract.intake.subjects import published_request, sender_of
from penstock.contract.names import LANES
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
from services.router.intake.rates import IntakeRates
from services.router.intake.turns import AccountTurns
from services.router.jobs.recorder import JobRecorder
from services.router.metrics import RouterMetrics
from services.router.queues.enqueue import enqueue
from services.router.rejection import Rejecter
from services.router.routing.bodies import BodyFeatures, extract_stored_features
from services.router.routing.decide import rejection_of
from services.router.routing.inbound import InboundRequest, address_of, job_of, refers_to_body
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
_SLOTS: Final = 128
"""Request events of a lane handled at once."""
_SLOTS_OF_ACCOUNT: Final = 24
"""Those of one account: another one's request is handled behind so many. More than those of an account that may wait
for the ledger (budget/wait_slots.py), so that its others go on meanwhile."""
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
    rates: IntakeRates | None = None
    """None: no account has a rate."""


class _Accepting(Struct, frozen=True):
    """What the steps need that follow the reservation of a place: to reserve the cost, to record and to enqueue."""

    reservation: QueueReservation
    trace: dict[str, str]
    repeated: bool
    """The request may have been handled before."""
    accepted_before: bool


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
        self._turns = {lane: AccountTurns(_SLOTS, _SLOTS_OF_ACCOUNT) for lane in LANES}
        self._bodies = ByteBudget(_BODIES_BYTES)

    async def handle(self, delivery: Delivery) -> Verdict:
        """Decide on a request event when it is the turn of its account, then accept or reject it."""
        account, lane = sender_of(delivery.subject)
        turns = self._turns[lane]
        if not turns.try_enter(account):
            await turns.enter(account)
        began_s = time.perf_counter()
        error: str | None = None
        span: Span = NO_SPAN
        try:
            attributes: Attributes = {
                names.MESSAGING_SYSTEM: names.NATS,
                names.MESSAGING_OPERATION_NAME: "process",
                names.DESTINATION_TEMPLATE: subjects.REQUEST,
                names.DELIVERY: delivery.number,
            }
            parent = delivery.headers.get(headers.TRACEPARENT)
            span = self._tracer.start(names.SPAN_ROUTER, "consumer", parent=parent, attributes=attributes)
            traceparent = span.traceparent
            set_trace(traceparent)
            trace = {} if traceparent is None else {headers.TRACEPARENT: traceparent}
            inbound = _inbound(delivery)
            decided = self._refused_by_rate(inbound) or await self._decision.decide(inbound)
            outcome: Routed | Outcome = (
                await self._with_body(inbound, decided) if isinstance(decided, BodyNeeded) else decided
            )
            if isinstance(outcome, Routed):
                span.set_all(_attributes_of(outcome.work))
                outcome = await self._accept(outcome, trace, repeated=inbound.repeated)
            if isinstance(outcome, Enqueued):
                work = outcome.work
                self._metrics.routed_of(work.role, work.complexity, work.lane).inc()
            elif isinstance(outcome, Rejected):
                error = outcome.code
                return await self._reject(outcome, trace, inbound, is_large=_is_large(decided, inbound))
            return ACK
        finally:
            turns.leave(account)
            span.end(error=error)
            self._metrics.duration.observe(time.perf_counter() - began_s)

    def _refused_by_rate(self, inbound: InboundRequest) -> Rejected | None:
        """The rejection of a request that comes too soon after others of its account, by its subject alone. A message
        that is delivered again was taken before.
        """
        rates = self._gates.rates
        if rates is None or inbound.redelivered:
            return None
        account, _ = sender_of(inbound.subject)
        wait_s = rates.refused_s(account)
        if wait_s is None:
            return None
        message = (
            f"the account sends requests faster than its rate allows; send this one again in {wait_s:.3g} s"
        )
        return rejection_of(inbound, InvalidRequest(message, "rate_limited", wait_s))

    async def _with_body(self, inbound: InboundRequest, needed: BodyNeeded) -> Routed | Rejected:
        """The decision with the stored body, which is read first."""
        try:
            features = await self._features(needed)
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
        budget = self._gates.budget
        accepting = _Accepting(admitted, trace, repeated, accepted_before)
        with admitted:
            routed = _with_estimate(routed, admitted.estimate)
            # An index request has no cost of its own: the embed requests of the indexer do.
            if budget is None or routed.work.kind == "index":
                outcome = await self._enqueue(routed, accepting)
            else:
                outcome = await self._reserve_and_enqueue(routed, accepting, budget)
        return self._recorder.with_job(outcome, routed.work) if isinstance(outcome, Rejected) else outcome

    async def _reserve_and_enqueue(
        self, routed: Routed, accepting: _Accepting, budget: BudgetGate
    ) -> Outcome:
        """Reserve the cost of the request, then enqueue it. A hold of which nothing will be spent is released."""
        accepted_before, trace = accepting.accepted_before, accepting.trace
        reserved = budget.reserved_before(routed) if accepted_before else await budget.reserve(routed, trace)
        if isinstance(reserved, Rejected):
            return reserved
        outcome = await self._enqueue(reserved, accepting)
        if reserved.work.hold_id is None:
            return outcome
        if isinstance(outcome, Rejected):
            return replace(outcome, held=True)
        goes_on = accepted_before or (isinstance(outcome, Enqueued) and outcome.new)
        if not goes_on and await self._recorder.has_ended(reserved.work):
            await budget.releases.release(reserved.work.reply_to, "invalid_request", trace)
        return outcome

    async def _enqueue(self, routed: Routed, accepting: _Accepting) -> Outcome:
        """Write a job's record, then store the work in its mailbox."""
        work, trace, accepted_before = routed.work, accepting.trace, accepting.accepted_before
        created: bool | AlreadyAccepted | Rejected = True
        if work.lane == "batch":
            created = await self._recorder.record(work, trace, accepted_before=accepted_before)
        if isinstance(created, AlreadyAccepted | Rejected):
            return created
        reservation = accepting.reservation
        stored = await enqueue(
            self._bus,
            routed,
            reservation.subject,
            trace,
            repeated=accepting.repeated,
            accepted_before=accepted_before,
        )
        if isinstance(stored, Rejected):
            return replace(stored, recorded=created)
        reservation.commit()
        if not stored.new:
            await self._recorder.end_if_id_taken(work)
        return stored

    async def _reject(
        self, rejected: Rejected, trace: dict[str, str], inbound: InboundRequest, *, is_large: bool
    ) -> Verdict:
        address = rejected.reply_to
        if address is None:
            return Unprocessable(rejected.code, rejected.message)
        retry = await self._rejecter.reject(
            rejected, address, trace, redelivered=inbound.redelivered, is_large=is_large
        )
        if retry is not None:
            return retry
        self._metrics.rejected.labels(rejected.code).inc()
        _log_rejection(rejected.code, rejected.message, address)
        return ACK

    async def dead_letter(self, delivery: Delivery, dead: Unprocessable) -> None:
        """Store the dead letter, then end the request if the message has a reply address."""
        self._metrics.rejected.labels(dead.code).inc()
        inbound = _inbound(delivery)
        address = address_of(inbound)
        _log_rejection(dead.code, f"dead-lettered: {dead.message}", address)
        published = replace(delivery, subject=inbound.subject)
        await store_dead_letter(self._bus.js, _ROUTER, published, dead)
        self._metrics.dead.labels(_ROUTER).inc()
        if address is not None:
            failure = failure_of(dead.code, dead.message)
            await self._rejecter.end_dead_letter(address, failure, job_of(inbound))


def _inbound(delivery: Delivery) -> InboundRequest:
    return InboundRequest(
        subject=published_request(delivery.subject),
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


def _attributes_of(work: ChatWork) -> Attributes:
    return {
        names.REQUEST_ID: work.id,
        names.ACCOUNT: work.account,
        names.ROLE: work.role,
        names.COMPLEXITY: work.complexity,
        names.WHY: work.why,
    }


def _is_large(decided: Routed | Rejected | BodyNeeded, inbound: InboundRequest) -> bool:
    """Whether a rejected request has a body that is stored apart."""
    if isinstance(decided, Rejected):
        return decided.code == "rate_limited" and refers_to_body(inbound)
    return isinstance(decided, BodyNeeded)


def _log_rejection(code: ErrorCode, message: str, address: ReplyAddress | None) -> None:
    """One log line for each request that ends here (J4); the message names fields, never content."""
    level = getattr(logging, ERRORS[code].level.upper())
    if not _log.isEnabledFor(level):
        return
    fields: dict[str, object] = {"error": code, "reason": message}
    if address is not None:
        fields |= {"request": address.id, "account": address.account}
    _log.log(level, "request rejected", extra={"fields": fields})
