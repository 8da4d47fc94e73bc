"""Work message → execution → verdict."""

from __future__ import annotations

from msgspec import Struct

from penstock.bus.clock import loop_now_s
from penstock.contract import headers
from penstock.contract.work import ChatWork
from penstock.runtime.accounting.prior_attempts import PriorAttempts
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.consumer.delivery import ACK, NO_VERDICT, Delivery, Unprocessable, Verdict
from penstock.runtime.consumer.work_message import InvalidWork
from penstock.runtime.redelivery.job_record import JobRecords
from penstock.runtime.redelivery.prior_attempts_reader import PriorAttemptsReader
from penstock.runtime.server_time_reader import FreshTime
from services.worker.accounting.lost_attempts import record_lost_attempts
from services.worker.accounting.usage_recorder import UsageRecorder
from services.worker.budget.hold_releases import HoldReleases
from services.worker.execution.large_bodies import LargeBodies
from services.worker.execution.run import Runner
from services.worker.intake.checked_work import read_work
from services.worker.redelivery.dead_letter import DeadLetters

__all__ = ["WorkHandler"]


class WorkHandler(Struct, frozen=True):
    """Handles the messages of every mailbox."""

    catalogue: Catalogue
    prior_attempts: PriorAttemptsReader
    job_records: JobRecords
    recorder: UsageRecorder
    runner: Runner
    dead_letters: DeadLetters
    bodies: LargeBodies
    releases: HoldReleases
    time: FreshTime
    ack_wait_s: float

    async def handle(self, delivery: Delivery) -> Verdict:
        began_s = loop_now_s()
        try:
            checked = read_work(delivery.subject, delivery.data, self.catalogue)
        except InvalidWork as error:
            return Unprocessable("invalid_request", f"the message is not valid work: {error}")
        prior = await self._read_prior_attempts(checked.work, delivery)
        if prior.attempt and not prior.ended and await self._may_be_held(delivery):
            return NO_VERDICT
        charged = record_lost_attempts(self.recorder, self.catalogue, checked.work, prior, delivery)
        if prior.ended:
            await self.recorder.wait_stored(checked.work)
            if prior.failed_with is not None and checked.work.hold_id is not None:
                trace = delivery.headers.get(headers.TRACEPARENT)
                await self.releases.release(checked.work.reply_to, prior.failed_with, trace)
            await self.bodies.delete(checked.work)  # the earlier worker may have died before it did
            return ACK
        await self.time.read_if_passed(checked.work.deadline_ms, since_ms=checked.work.accepted_ms)
        return await self.runner.run(checked, prior, delivery, began_s, charged)

    async def _may_be_held(self, delivery: Delivery) -> bool:
        """Whether the worker that began the request may be alive, because this process or the server was frozen, or
        the server's clock stepped, by which it measures `ack_wait`. If it is not, the message comes again.
        """
        if delivery.may_be_redelivered(loop_now_s()):
            return True
        return delivery.number > 1 and await self.time.stepped_within(self.ack_wait_s)

    async def dead_letter(self, delivery: Delivery, dead: Unprocessable) -> None:
        """No worker receives the message after this, so attempts of lost workers are recorded first."""
        try:
            work = read_work(delivery.subject, delivery.data, self.catalogue).work
        except InvalidWork:
            pass  # no provider was called for it
        else:
            try:
                prior = await self._read_prior_attempts(work, delivery)
                record_lost_attempts(self.recorder, self.catalogue, work, prior, delivery)
                await self.recorder.wait_stored(work)
            finally:
                self.recorder.release(work)
        await self.dead_letters.store(delivery, dead)

    async def _read_prior_attempts(self, work: ChatWork, delivery: Delivery) -> PriorAttempts:
        prior = await self.prior_attempts.read(delivery, work.reply_to)
        if work.lane == "batch":
            prior = await self.job_records.prior_attempts(work, delivery, prior)
        return prior
