"""Request event → decision → mailbox or refusal."""

from __future__ import annotations

import logging
import time
from typing import Final

from msgspec.structs import replace

from penstock.bus import trace_names as names
from penstock.bus.clock import Clock
from penstock.bus.tracing import Span, Tracer
from penstock.contract import headers, subjects
from penstock.contract.errors import ERRORS, ErrorCode
from penstock.contract.subjects import ReplyAddress
from penstock.contract.work import ChatWork
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.consumer.delivery import ACK, DeadLetter, Delivery, Verdict
from penstock.runtime.dead_letters import store_dead_letter
from penstock.runtime.service import Bus
from penstock.runtime.telemetry.logs import set_trace
from services.router.admission.gate import Entrance
from services.router.jobs.duplicates import was_accepted
from services.router.jobs.recorder import Background, refused_job
from services.router.metrics import RouterMetrics
from services.router.queues.enqueue import queue
from services.router.rejection import Refusing
from services.router.routing.decide import Refused, Routed, judge
from services.router.routing.inbound import Arrival, address_of, job_of
from services.router.termination import failure_of
from services.router.workers.tracker import Liveness

__all__ = ["RequestHandler"]

_log: Final = logging.getLogger(__name__)
_ROUTER = "router"


class RequestHandler:
    """Everything that happens to one request event at the router."""

    def __init__(
        self,
        catalogue: Catalogue,
        liveness: Liveness,
        entrance: Entrance,
        metrics: RouterMetrics,
        tracer: Tracer,
        clock: Clock,
    ) -> None:
        self._catalogue = catalogue
        self._liveness = liveness
        self._entrance = entrance
        self._metrics = metrics
        self._tracer = tracer
        self._clock = clock
        self._background = Background(clock)
        self._refusing = Refusing(self._background)

    def bind(self, bus: Bus) -> None:
        self._bus = bus
        self._background.bind(bus)
        self._refusing.bind(bus)

    async def handle(self, delivery: Delivery) -> Verdict:
        began_s = time.perf_counter()
        span = self._start_span(delivery)
        set_trace(span.traceparent)
        arrival = _arrival(delivery)
        served = self._liveness.served(self._clock.monotonic_s())
        outcome = judge(arrival, self._catalogue, served, self._clock.unix_ms())
        try:
            if isinstance(outcome, Routed):
                outcome = await self._accept(outcome, span, repeated=arrival.repeated)
            if isinstance(outcome, Refused):
                return await self._refuse(outcome, span, redelivered=arrival.redelivered)
        finally:
            span.end(error=outcome.code if isinstance(outcome, Refused) else None)
            self._metrics.duration.observe(time.perf_counter() - began_s)
        return ACK

    async def bury(self, delivery: Delivery, dead: DeadLetter) -> None:
        """Store the dead letter, then tell the application, if the message says who it is."""
        self._metrics.refused.labels(dead.code).inc()
        arrival = _arrival(delivery)
        address = address_of(arrival)
        _tell(dead.code, f"buried: {dead.message}", address)
        await store_dead_letter(self._bus.js, _ROUTER, delivery, dead)
        self._metrics.dead.labels(_ROUTER).inc()
        if address is not None:
            await self._refusing.bury(address, failure_of(dead.code, dead.message), job_of(arrival))

    async def _accept(self, routed: Routed, span: Span, *, repeated: bool) -> Routed | Refused:
        _describe(span, routed.work)
        refused = await self._let_in(routed, _trace(span), repeated=repeated)
        return routed if refused is None else refused_job(refused, routed.work, self._clock.unix_ms())

    async def _let_in(self, routed: Routed, sent: dict[str, str], *, repeated: bool) -> Refused | None:
        """Door, record, mailbox; the place behind the door is kept meanwhile."""
        work = routed.work
        accepted_before = repeated and await was_accepted(self._bus, work)
        place = await self._entrance.admit(routed, accepted_before=accepted_before)
        if isinstance(place, Refused):
            return place
        with place:
            standing = await self._background.accept(work, sent, accepted_before=accepted_before)
            if isinstance(standing, Refused):
                return standing
            if not standing.to_queue:
                return None
            queued = await queue(self._bus, routed, place, sent, repeated=repeated)
        if isinstance(queued, Refused):
            return replace(queued, written_down=standing.ours)
        if not queued:
            await self._background.end_if_taken(work)
        self._metrics.routed.labels(work.role, work.complexity, work.lane).inc()
        return None

    async def _refuse(self, refused: Refused, span: Span, *, redelivered: bool) -> Verdict:
        if refused.reply_to is None:
            return DeadLetter(refused.code, refused.message)
        again = await self._refusing.refuse(refused, refused.reply_to, _trace(span), redelivered=redelivered)
        if again is not None:
            return again
        self._metrics.refused.labels(refused.code).inc()
        _tell(refused.code, refused.message, refused.reply_to)
        return ACK

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


def _arrival(delivery: Delivery) -> Arrival:
    return Arrival(
        subject=delivery.subject,
        data=delivery.data,
        headers=delivery.headers,
        stored_ms=delivery.stored_ns // 1_000_000,
        repeated=delivery.number > 1 or headers.REPEATED in delivery.headers,
        redelivered=delivery.number > 1,
    )


def _trace(span: Span) -> dict[str, str]:
    return {} if span.traceparent is None else {headers.TRACEPARENT: span.traceparent}


def _describe(span: Span, work: ChatWork) -> None:
    span.set(names.REQUEST_ID, work.id)
    span.set(names.ACCOUNT, work.account)
    span.set(names.ROLE, work.role)
    span.set(names.COMPLEXITY, work.complexity)
    span.set(names.WHY, work.why)


def _tell(code: ErrorCode, message: str, address: ReplyAddress | None) -> None:
    """One log line for each request that ends here (J4); the message names fields, never content."""
    fields: dict[str, object] = {"error": code, "reason": message}
    if address is not None:
        fields |= {"request": address.id, "account": address.account}
    _log.log(getattr(logging, ERRORS[code].level.upper()), "request refused", extra={"fields": fields})
