"""The end of a message that cannot be finished: a dead letter, and a word to the application."""

from __future__ import annotations

import logging
from typing import Final

from penstock.contract import headers, subjects
from penstock.contract.errors import ERRORS
from penstock.contract.reply import Failure
from penstock.runtime.consumer.delivery import DeadLetter, Delivery
from penstock.runtime.dead_letters import history_of, store_dead_letter
from penstock.runtime.service import Bus
from services.worker.execution.equipment import Equipment

__all__ = ["Burying"]

_log: Final = logging.getLogger(__name__)
_NO_ROLE: Final = "unknown"


class Burying:
    def __init__(self, bus: Bus, equipment: Equipment) -> None:
        self._bus = bus
        self._background = equipment.background
        self._metrics = equipment.metrics

    async def bury(self, delivery: Delivery, dead: DeadLetter) -> None:
        """Store the dead letter, then tell the application, if the message says who it is."""
        where = subjects.work_address(delivery.subject)
        role = _NO_ROLE if where is None else where.role
        address = subjects.reply_address(delivery.headers.get(headers.REPLY_SUBJECT, ""))
        told = [] if address is None else await self._background.told(address)
        await store_dead_letter(self._bus.js, role, delivery, dead, history_of(told))
        self._metrics.dead.labels(role).inc()
        if address is None:
            return
        failure = Failure(code=dead.code, message=dead.message, retry=ERRORS[dead.code].retry)
        await self._background.fail(address, failure, told, delivery.sequence)
        self._metrics.requests.labels(role, dead.code).inc()
        fields = {"request": address.id, "role": role, "error": dead.code}
        _log.error("request buried", extra={"fields": fields})
