"""Whether other workers made attempts for a request before, and how far these came.

JetStream's delivery count alone is not enough: after the server is killed it may be too low, and the duplicate window
of a work queue does not cover messages that were taken (docs/decisions/0005). So the stored replies are read for a
message that was stored before this worker's last (re)connection, is marked as sent twice, or is delivered again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import Final

import nats.errors

from penstock.bus.clock import elapsed_ns
from penstock.bus.direct_get import stream_position
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.stored_replies import acknowledged_replies
from penstock.contract.headers import REPEATED
from penstock.contract.reply import first_seq
from penstock.contract.streams import WORK
from penstock.contract.subjects import ReplyAddress
from penstock.runtime.accounting.prior_attempts import PriorAttempts, fold_events
from penstock.runtime.consumer.delivery import Delivery
from penstock.runtime.service import Bus

__all__ = ["PriorAttemptsReader", "ServerClock"]

_log: Final = rate_limited_logger(__name__)
_RETRY_S: Final = 1.0
"""Seconds between two questions to a JetStream that does not answer."""


class ServerClock:
    """The age of messages by the server's clock, which stamps them.

    The latest time that this clock can show follows from its last reading and the time elapsed since then; this
    machine's clock may show any other hour. An age is never too low as long as the server's clock does not jump ahead;
    a jump, or a new leader whose clock is ahead, shows in the next stamp.
    """

    def __init__(self) -> None:
        self._ahead_ns: int | None = None

    def observe(self, server_ns: int, asked_ns: int) -> None:
        """The server's clock showed `server_ns` at `asked_ns` of this machine's, or later."""
        self._ahead_ns = server_ns - asked_ns

    def age_ns(self, stored_ns: int, now_ns: int) -> int | None:
        """The longest time that can have passed since the stamp `stored_ns`; None before the first reading."""
        if self._ahead_ns is None:
            return None
        self._ahead_ns = max(self._ahead_ns, stored_ns - now_ns)
        return now_ns + self._ahead_ns - stored_ns


class PriorAttemptsReader:
    """Reads the prior attempts of each delivery that is not certainly the first of its request."""

    def __init__(self, bus: Bus, ack_wait_s: float, now_ns: Callable[[], int] = elapsed_ns) -> None:
        """`now_ns` measures elapsed time from any origin; this machine's clock is never compared with the server's."""
        self._bus = bus
        self._now_ns = now_ns
        self._server_clock = ServerClock()
        self._stale_ns = int(ack_wait_s / 2 * 1e9)
        self._fresh_above: float = inf
        self._connections = 0

    async def start(self) -> None:
        self._bus.connection_events.add_reconnect_listener(self._note_position)
        await self._note_position()

    async def read(self, delivery: Delivery, reply_to: ReplyAddress) -> PriorAttempts:
        """The prior attempts; none, without a look-up, for a message that is certainly new."""
        if self._is_new(delivery):
            return PriorAttempts()
        prior = fold_events(await acknowledged_replies(self._bus.nc, reply_to.subject))
        if prior.known or delivery.number == 1:
            return prior
        # The stored replies have expired, and another worker had the request: number events above all of its events.
        attempt = delivery.number - 1
        return PriorAttempts(
            attempt=attempt, next_seq=first_seq(attempt) + 1, output_sent=True, text_sent=True
        )

    def _is_new(self, delivery: Delivery) -> bool:
        """An old message may have waited in the socket of a worker that was stopped, so only a young one is new."""
        age_ns = self._server_clock.age_ns(delivery.stored_ns, self._now_ns())
        return (
            delivery.number == 1
            and delivery.sequence > self._fresh_above
            and REPEATED not in delivery.headers
            and age_ns is not None
            and age_ns < self._stale_ns
        )

    async def _note_position(self) -> None:
        """Note the last sequence stored by now: another worker may have had any message up to it."""
        self._fresh_above = inf
        self._connections += 1
        connection = self._connections
        while connection == self._connections:
            asked_ns = self._now_ns()
            try:
                found = await stream_position(self._bus.nc, WORK.name)
            except (nats.errors.Error, TimeoutError) as error:
                _log.warning("prior attempts are read for every request until JetStream answers: %r", error)
                await asyncio.sleep(_RETRY_S)
            else:
                if connection == self._connections:
                    self._fresh_above = found.last_sequence
                    self._server_clock.observe(found.unix_ns, asked_ns)
                return
