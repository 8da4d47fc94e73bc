"""One request from its delivery to the stored terminal event."""

from __future__ import annotations

import logging
from typing import Final

from msgspec import Struct

from penstock.bus.clock import loop_now_s
from penstock.contract.reply import Completed, Failed, Timings
from penstock.runtime.consumer.delivery import ACK, NO_VERDICT, Delivery, Retry, Verdict
from penstock.runtime.reply_publisher import Superseded
from services.worker.execution.cancellation import CancellableExecutions
from services.worker.execution.finish import Finisher, completed, failed
from services.worker.execution.ladder import Ladder
from services.worker.execution.start import Starter
from services.worker.execution.state import Execution, GaveUp, HandBack
from services.worker.intake.handover import Handover
from services.worker.intake.order import Order
from services.worker.metrics import Telemetry
from services.worker.redelivery.prior_attempts import PriorAttempts

__all__ = ["Runner"]

_log: Final = logging.getLogger(__name__)


class Runner(Struct, frozen=True):
    """Executes requests."""

    starter: Starter
    ladder: Ladder
    finisher: Finisher
    cancellable: CancellableExecutions
    handover: Handover
    telemetry: Telemetry

    async def run(self, order: Order, prior: PriorAttempts, delivery: Delivery, began_s: float) -> Verdict:
        """Execute the request; `began_s`: when its message reached this worker."""
        work = order.work
        execution = self.starter.start(order, prior, delivery)
        outcome: str | None = "interrupted"
        try:
            event = await self._terminal_event(execution)
            if delivery.may_be_redelivered(loop_now_s()):
                await execution.reply.confirm()
            await self.finisher.finish(execution, event)
            outcome = event.error.code if isinstance(event, Failed) else None
        except Superseded:
            outcome = "superseded"
            await self.finisher.store_usage(work)
            return NO_VERDICT
        except HandBack as back:
            outcome = "handed_back"
            _log.info("request %s returns to the queue: another worker can serve it now", work.id)
            await self.finisher.store_usage(work)
            self.handover.record_hand_back(work.role, loop_now_s(), pauses=back.pauses)
            return Retry(to_other_process=True)
        finally:
            self.finisher.release(execution, loop_now_s() - began_s, outcome)
            execution.span.end(error=outcome)
        return ACK

    async def _terminal_event(self, execution: Execution) -> Completed | Failed:
        """Climb the ladder; a cancel request ends it until this returns."""
        try:
            with self.cancellable.entered(execution):
                success = await self.ladder.climb(execution)
        except GaveUp as gave_up:
            return failed(execution, gave_up, self._timings(execution))
        return completed(execution, success, self._timings(execution, success.first_output_s))

    def _timings(self, execution: Execution, first_output_s: float | None = None) -> Timings:
        total_ms = self.telemetry.since_ms(execution.work.accepted_ms)
        first_ms = None
        if first_output_s is not None:
            first_ms = round(total_ms - (loop_now_s() - first_output_s) * 1000, 3)
        return Timings(queued_ms=execution.queued_ms, first_token_ms=first_ms, total_ms=total_ms)
