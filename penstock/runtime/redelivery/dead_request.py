"""The end of a message that cannot be processed: a dead letter, and a `failed` event for the application."""

from __future__ import annotations

import logging
from typing import Final

from msgspec import Struct

from penstock.bus.clock import Clock
from penstock.contract import headers, subjects
from penstock.contract.subjects import ReplyAddress
from penstock.runtime.consumer.dead_letters import history_of, store_dead_letter
from penstock.runtime.consumer.delivery import Delivery, Unprocessable
from penstock.runtime.jobs.completion import end_unless_ended, failure_of
from penstock.runtime.redelivery.job_record import JobRecords
from penstock.runtime.service import Bus

__all__ = ["DeadRequest", "DeadRequests"]

_log: Final = logging.getLogger(__name__)


class DeadRequest(Struct, frozen=True):
    """A request whose message became a dead letter."""

    address: ReplyAddress
    ended: bool
    """False: it has ended before, or goes on where the message is a second copy of the one that is executed."""


class DeadRequests(Struct, frozen=True):
    bus: Bus
    job_records: JobRecords
    clock: Clock

    async def end(self, role: str, delivery: Delivery, dead: Unprocessable) -> DeadRequest | None:
        """Store the dead letter, then end the request. None: the message names no reply subject."""
        address = subjects.reply_address(delivery.headers.get(headers.REPLY_SUBJECT, ""))
        events = [] if address is None else await self.job_records.events(address)
        await store_dead_letter(self.bus.js, role, delivery, dead, history_of(events))
        if address is None:
            return None
        ended = await end_unless_ended(
            self.bus,
            address,
            failure_of(dead.code, dead.message),
            self.clock.unix_ms(),
            work_seq=delivery.sequence,
            events=events,
        )
        fields = {"request": address.id, "role": role, "error": dead.code}
        _log.error("request dead-lettered", extra={"fields": fields})
        return DeadRequest(address, ended)
