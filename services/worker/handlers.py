"""Work → ladder → terminal event."""

from __future__ import annotations

from penstock.bus.clock import loop_now_s
from penstock.contract.work import ChatWork
from penstock.runtime.consumer.delivery import ACK, DeadLetter, Delivery, Verdict
from services.worker.execution.equipment import Equipment
from services.worker.execution.run import Serving
from services.worker.execution.start import record_lost
from services.worker.intake.order import NotWork, read_order
from services.worker.redelivery.dead_letter import Burying
from services.worker.redelivery.prior_attempts import Past, Takeover

__all__ = ["WorkHandler"]


class WorkHandler:
    """Everything that happens to one message of a mailbox."""

    def __init__(self, equipment: Equipment, takeover: Takeover, serving: Serving, burying: Burying) -> None:
        self._equipment = equipment
        self._takeover = takeover
        self._serving = serving
        self._burying = burying

    async def handle(self, delivery: Delivery) -> Verdict:
        began_s = loop_now_s()
        try:
            order = read_order(delivery.subject, delivery.data, self._equipment.catalogue)
        except NotWork as error:
            return DeadLetter("invalid_request", f"this is no work: {error}")
        past = await self._past(order.work, delivery)
        record_lost(self._equipment, order.work, past)
        if past.ended:
            await self._equipment.recorder.stored(order.work)
            return ACK
        return await self._serving.serve(order, past, delivery, began_s)

    async def bury(self, delivery: Delivery, dead: DeadLetter) -> None:
        """Nobody holds it after this: what the last of those who are gone had begun is recorded first."""
        try:
            work = read_order(delivery.subject, delivery.data, self._equipment.catalogue).work
        except NotWork:
            pass  # nobody called a provider for it
        else:
            try:
                record_lost(self._equipment, work, await self._past(work, delivery))
                await self._equipment.recorder.stored(work)
            finally:
                self._equipment.recorder.forget(work)
        await self._burying.bury(delivery, dead)

    async def _past(self, work: ChatWork, delivery: Delivery) -> Past:
        past = await self._takeover.past(delivery, work.reply_to.subject)
        if work.lane == "batch":
            past = await self._equipment.background.look_back(work, delivery, past)
        return past
