"""Work → ladder → terminal event."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from penstock.cancellations import Cancellations
from penstock.clock import loop_now_s
from penstock.deadletters import bury, history_of
from penstock.delivery import ACK, LEAVE, Dead, Delivery, Verdict
from penstock.reply_publisher import Superseded
from penstock.service import Bus
from penstock.telemetry import names
from schemas import headers, subjects
from schemas.errors import ERRORS
from schemas.reply import Completed, Failed, Failure, Timings
from services.worker.ending import completed, failed, log_end
from services.worker.equipment import Equipment
from services.worker.intake import NotWork, read_order
from services.worker.job import GaveUp, Job
from services.worker.ladder import Ladder
from services.worker.opening import open_job, record_lost, start_spans
from services.worker.takeover import Takeover

__all__ = ["WorkHandler"]

_log: Final = logging.getLogger(__name__)
_NO_ROLE: Final = "unknown"


class WorkHandler:
    """Everything that happens to one message of a mailbox."""

    def __init__(self, bus: Bus, equipment: Equipment, ladder: Ladder, takeover: Takeover) -> None:
        self._bus = bus
        self._equipment = equipment
        self._ladder = ladder
        self._takeover = takeover
        self._cancellations = Cancellations(self._cancel)
        self._jobs: dict[tuple[str, str], list[Job]] = {}
        """By account and id; two clients of an account may use the same id."""

    async def start(self) -> None:
        await self._takeover.start()
        await self._cancellations.start(self._bus.nc, self._bus.reconnects)

    async def handle(self, delivery: Delivery) -> Verdict:
        began_s = loop_now_s()
        try:
            order = read_order(delivery.subject, delivery.data, self._equipment.catalogue)
        except NotWork as error:
            return Dead("invalid_request", f"this is no work: {error}")
        work = order.work
        past = await self._takeover.past(delivery, work.reply_to.subject)
        if work.lane == "batch":
            past = await self._equipment.background.look_back(work, delivery, past)
        record_lost(self._equipment, work, past)
        if past.ended:
            await self._equipment.recorder.stored(work)
            return ACK
        span = start_spans(self._equipment, work, delivery)
        job = open_job(self._equipment, self._bus, order, past, span, delivery.sequence)
        outcome: str | None = "interrupted"
        try:
            event = await self._answer(job)
            if delivery.may_be_elsewhere(loop_now_s()):
                await job.reply.confirm()
            await self._finish(job, event)
            outcome = event.error.code if isinstance(event, Failed) else None
        except Superseded:
            outcome = "superseded"
            await self._equipment.recorder.stored(work)
            return LEAVE
        finally:
            self._equipment.recorder.forget(work)
            self._equipment.pace.ended(work.role, job.course, loop_now_s() - began_s)
            span.end(error=outcome)
        return ACK

    async def bury(self, delivery: Delivery, dead: Dead) -> None:
        """Store the dead letter, then tell the application, if the message says who it is."""
        where = subjects.work_address(delivery.subject)
        role = _NO_ROLE if where is None else where.role
        address = subjects.reply_address(delivery.headers.get(headers.REPLY_SUBJECT, ""))
        told = [] if address is None else await self._equipment.background.told(address)
        await bury(self._bus.js, role, delivery, dead, history_of(told))
        self._equipment.metrics.dead.labels(role).inc()
        if address is None:
            return
        failure = Failure(code=dead.code, message=dead.message, retry=ERRORS[dead.code].retry)
        await self._equipment.background.fail(address, failure, told)
        self._equipment.metrics.requests.labels(role, dead.code).inc()
        _log.error(
            "request buried", extra={"fields": {"request": address.id, "role": role, "error": dead.code}}
        )

    async def _answer(self, job: Job) -> Completed | Failed:
        """Climb the ladder; cancellable from outside until it returns."""
        work = job.work
        queued_ms = self._since_ms(job)
        self._equipment.metrics.queue_wait.labels(work.role).observe(queued_ms / 1000)
        self._equipment.tiers.arrived(job, queued_ms / 1000, loop_now_s())
        self._jobs.setdefault((work.account, work.id), []).append(job)
        try:
            if self._cancellations.is_cancelled(work.account, work.id):
                raise _cancelled()
            success = await self._ladder.climb(job)
        except GaveUp as gave_up:
            return failed(job, gave_up, Timings(queued_ms=queued_ms, total_ms=self._since_ms(job)))
        except asyncio.CancelledError:
            if not job.cancelled:
                raise
            job.task.uncancel()
            return failed(job, _cancelled(), Timings(queued_ms=queued_ms, total_ms=self._since_ms(job)))
        finally:
            self._forget(job)
        total_ms = self._since_ms(job)
        first_ms = None
        if success.first_output_s is not None:
            first_ms = round(
                total_ms - (asyncio.get_running_loop().time() - success.first_output_s) * 1000, 3
            )
        timings = Timings(queued_ms=queued_ms, first_token_ms=first_ms, total_ms=total_ms)
        return completed(job, success, self._equipment.catalogue.models[success.model].provider, timings)

    async def _finish(self, job: Job, event: Completed | Failed) -> None:
        """The end, and what the attempts cost, are stored before the work is acknowledged."""
        outcome = event.error.code if isinstance(event, Failed) else "completed"
        span = self._equipment.tracer.start(
            names.SPAN_REPLY,
            "producer",
            parent=job.span.traceparent,
            attributes={
                names.MESSAGING_SYSTEM: names.NATS,
                names.MESSAGING_OPERATION_NAME: "send",
                names.DESTINATION_TEMPLATE: subjects.REPLY,
                names.OUTCOME: outcome,
            },
        )
        try:
            await self._equipment.recorder.stored(job.work)
            standing = await self._equipment.background.end(job, event)
            if standing is not None:
                await job.reply.finish(standing)
        finally:
            span.end()
        self._equipment.metrics.count_end(job.work.role, job.first_choice, event)
        log_end(job.work, event, self._equipment.clock)

    def _cancel(self, account: str, request_id: str) -> None:
        for job in self._jobs.get((account, request_id), ()):
            if not job.cancelled:
                job.cancelled = True
                job.task.cancel()

    def _forget(self, job: Job) -> None:
        key = (job.work.account, job.work.id)
        self._jobs[key].remove(job)
        if not self._jobs[key]:
            del self._jobs[key]

    def _since_ms(self, job: Job) -> float:
        """Milliseconds since JetStream accepted the request; never negative, whatever the clocks say."""
        return round(max(0.0, self._equipment.clock.unix_s() * 1000 - job.work.accepted_ms), 3)


def _cancelled() -> GaveUp:
    return GaveUp("cancelled", "the request was cancelled")
