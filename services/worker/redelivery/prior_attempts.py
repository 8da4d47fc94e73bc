"""Whether somebody worked on this request before, and how far they got.

JetStream's own count is not enough: after a kill of the server it may be lower than the truth, and a work queue's
duplicate window forgets what was taken (docs/decisions/0005). So a message that was stored before this worker's
last (re)connection, that says it was sent twice, or that is delivered again, is looked up among the stored replies.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from math import inf
from typing import Final

import nats.errors
from msgspec import Struct

from penstock.bus.clock import elapsed_ns
from penstock.bus.direct_get import whereabouts
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.stored_replies import settled_replies
from penstock.contract.headers import REPEATED
from penstock.contract.reply import TERMINAL, Delta, ReplyEvent, Started, first_seq
from penstock.contract.streams import WORK
from penstock.runtime.answer_size import answer_bytes
from penstock.runtime.consumer.delivery import Delivery
from penstock.runtime.service import Bus
from services.worker.redelivery.server_clock import ServerClock

__all__ = ["Past", "Takeover", "past_of"]

_log: Final = rate_limited_logger(__name__)
_ASK_AGAIN_S: Final = 1.0


class Past(Struct, frozen=True, kw_only=True):
    """What the stored replies tell of a request."""

    known: bool = True
    """False: not one event of it is stored."""
    ended: bool = False
    """A terminal event is stored: nothing is left to do."""
    attempts: tuple[Started, ...] = ()
    output_sent: bool = False
    """An attempt was begun, so text may be out: a cluster without a leader delivers, and stores nothing."""
    text_sent: bool = False
    """Some of an answer was sent, or may have been where that is not known any more."""
    bytes_out: Mapping[int, int] = {}
    """What each attempt sent of its answer."""
    attempt: int = 0
    next_seq: int = 1
    tried: int = 0
    """Attempts made, where the record of a job tells of more than are stored."""


def past_of(events: list[ReplyEvent]) -> Past:
    """Fold the stored events of one request."""
    last = max(events, key=lambda event: event.seq, default=None)
    if last is None:
        return Past(known=False)
    bytes_out: Counter[int] = Counter()
    for event in events:
        if isinstance(event, Delta):
            bytes_out[event.attempt] += answer_bytes(event.text, event.choices)
    return Past(
        ended=any(isinstance(event, TERMINAL) for event in events),
        attempts=tuple(event for event in events if isinstance(event, Started)),
        output_sent=last.attempt > 0,
        text_sent=any(bytes_out.values()),
        bytes_out=bytes_out,
        attempt=last.attempt,
        next_seq=last.seq + 1,
    )


class Takeover:
    """Knows which deliveries are certainly the first of their request."""

    def __init__(self, bus: Bus, ack_wait_s: float, now_ns: Callable[[], int] = elapsed_ns) -> None:
        """`now_ns` counts the time that passes, from wherever; no hour of ours is compared with the server's."""
        self._bus = bus
        self._now_ns = now_ns
        self._server_clock = ServerClock()
        self._stale_ns = int(ack_wait_s / 2 * 1e9)
        self._fresh_above: float = inf
        self._connections = 0

    async def start(self) -> None:
        self._bus.reconnects.add(self._mark)
        await self._mark()

    async def past(self, delivery: Delivery, reply_subject: str) -> Past:
        """What was done before; nothing, and no look-up, for a message that is certainly new."""
        if self._is_new(delivery):
            return Past()
        past = past_of(await settled_replies(self._bus.nc, reply_subject))
        if past.known or delivery.number == 1:
            return past
        # The stored replies are gone, and somebody held the request before: begin above whatever that one said.
        attempt = delivery.number - 1
        return Past(attempt=attempt, next_seq=first_seq(attempt) + 1, output_sent=True, text_sent=True)

    def _is_new(self, delivery: Delivery) -> bool:
        """A message that lay for long may have lain in the socket of a process that was stopped meanwhile."""
        age_ns = self._server_clock.age_ns(delivery.stored_ns, self._now_ns())
        return (
            delivery.number == 1
            and delivery.sequence > self._fresh_above
            and REPEATED not in delivery.headers
            and age_ns is not None
            and age_ns < self._stale_ns
        )

    async def _mark(self) -> None:
        """Whatever is stored by now may have been in hands that are gone."""
        self._fresh_above = inf
        self._connections += 1
        connection = self._connections
        while connection == self._connections:
            asked_ns = self._now_ns()
            try:
                found = await whereabouts(self._bus.nc, WORK.name)
            except (nats.errors.Error, TimeoutError) as error:
                _log.warning("every request is looked up until JetStream says where it is: %r", error)
                await asyncio.sleep(_ASK_AGAIN_S)
            else:
                if connection == self._connections:
                    self._fresh_above = found.last_sequence
                    self._server_clock.told(found.unix_ns, asked_ns)
                return
