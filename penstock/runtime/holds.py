"""Holds at the budget ledger, as the router and the worker ask for them and give them back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Final, Literal

import nats.errors
from msgspec.structs import replace
from nats.aio.client import Client as Nats
from nats.js import JetStreamContext

from penstock.bus.clock import loop_now_s
from penstock.bus.freezes import frozen_s, silent_s
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.publish import store
from penstock.contract import codec, subjects
from penstock.contract.events import HoldReleased
from penstock.contract.ledger.holds import HoldGranted, HoldRefused, HoldRequest
from penstock.contract.ledger.policies import TrafficClass
from penstock.contract.names import Kind, Lane

__all__ = ["HOLD_GRACE_MS", "HoldClient", "LedgerUnavailable", "release_hold", "traffic_of"]

HOLD_GRACE_MS: Final = 5_000
"""Milliseconds after the deadline of a request for which its amount stays reserved: a worker may complete it a moment
after the deadline, and reports the usage then."""
_log: Final = rate_limited_logger(__name__)
_ANSWER_S: Final = 1.0
"""Seconds for an answer, in addition to `wait_s`; then the owner of the partition is taken for dead or frozen."""
_SHORTEST_ANSWER_S: Final = 0.25
"""The same for the last try before the client gives up."""
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 0.4
"""Seconds between two tries: doubled from the first to the longest. A new owner is found within this."""
_NOT_RECEIVED: Final = (nats.errors.NoRespondersError, nats.errors.OutboundBufferLimitError)
_NoAnswer = Literal["absent", "unanswered"]
"""`absent`: no ledger received the question. `unanswered`: one may have."""


def traffic_of(lane: Lane, kind: Kind) -> TrafficClass:
    """The class of traffic that a request counts to: everything in the batch lane is background work."""
    if lane == "batch":
        return "background"
    return "embed" if kind == "embed" else "chat"


class LedgerUnavailable(Exception):
    """No ledger answered within the time for it."""

    def __init__(self, message: str, *, may_be_held: bool) -> None:
        super().__init__(message)
        self.may_be_held = may_be_held
        """A ledger may have received the question, and reserved the amount before it died."""


class HoldClient:
    """Asks the owner of an account's partition, again while it is being replaced.

    A partition that did not answer at all within `patience_s` is asked once per request until it answers again, so that
    an outage does not make every request wait.
    """

    def __init__(self, nc: Nats, patience_s: float, most_waiting: int | None = None) -> None:
        """`most_waiting`: requests that may wait at once for partitions that did not answer the last question; further
        ones are given up at once, so that they do not delay requests of other partitions. None: any number.
        """
        self._nc = nc
        self._patience_s = patience_s
        self._most_waiting = most_waiting
        self._asking: Counter[str] = Counter()
        """Requests without an answer, by the subject of their partition."""
        self._unanswered: set[str] = set()
        """Subjects on which the last question had no answer."""
        self._silent: set[str] = set()
        """Subjects of the partitions that did not answer within the patience."""

    async def hold(
        self, request: HoldRequest, trace: Mapping[str, str] | None = None
    ) -> HoldGranted | HoldRefused:
        """The answer of the ledger. A repeated question is harmless, because the hold has the same id.

        `trace`: headers that carry the trace of the request. Raises LedgerUnavailable.
        """
        subject = subjects.ledger_hold(subjects.partition_of(request.account))
        self._asking[subject] += 1
        try:
            return await self._answer(subject, request, dict(trace) if trace else None)
        finally:
            self._asking[subject] -= 1

    async def _answer(
        self, subject: str, request: HoldRequest, headers: dict[str, str] | None
    ) -> HoldGranted | HoldRefused:
        patience_s = 0.0 if subject in self._silent else self._patience_s
        began_s, pause_s, waited_s = loop_now_s(), _FIRST_PAUSE_S, 0.0
        may_be_held = False
        while True:
            if not self._may_wait(subject):
                message = f"{self._most_waiting} requests wait for a silent ledger, as on {subject}"
                raise LedgerUnavailable(message, may_be_held=may_be_held)
            wait_s = max(0.0, request.wait_s - waited_s)
            left_s = max(_SHORTEST_ANSWER_S, patience_s - waited_s)
            asked = request if wait_s == request.wait_s else replace(request, wait_s=wait_s)
            answer = await self._ask(subject, asked, headers, wait_s + min(_ANSWER_S, left_s))
            if isinstance(answer, HoldGranted | HoldRefused):
                self._silent.discard(subject)
                self._unanswered.discard(subject)
                return answer
            self._unanswered.add(subject)
            may_be_held |= answer == "unanswered"
            waited_s = self._waited_s(began_s)
            if waited_s + pause_s > patience_s:
                self._silent.add(subject)
                raise LedgerUnavailable(
                    f"no answer on {subject} for {waited_s:.1f} s", may_be_held=may_be_held
                )
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            waited_s = self._waited_s(began_s)

    def _waited_s(self, began_s: float) -> float:
        """Seconds in which a ledger could have answered: this process ran, and so did the NATS server."""
        return loop_now_s() - began_s - frozen_s(began_s) - silent_s(self._nc, began_s)

    def _may_wait(self, subject: str) -> bool:
        if self._most_waiting is None or subject not in self._unanswered:
            return True
        return sum(self._asking[each] for each in self._unanswered) <= self._most_waiting

    async def _ask(
        self, subject: str, request: HoldRequest, headers: dict[str, str] | None, timeout_s: float
    ) -> HoldGranted | HoldRefused | _NoAnswer:
        try:
            msg = await self._nc.request(subject, codec.encode(request), timeout=timeout_s, headers=headers)
            answer = codec.HOLD_ANSWER.decode(msg.data)
        except _NOT_RECEIVED as error:
            _log.warning("no ledger receives %s: %r", subject, error)
            return "absent"
        except nats.errors.TimeoutError:
            _log.warning("no ledger answers on %s within %.1f s", subject, timeout_s)
            return "unanswered"
        except codec.INVALID as error:
            _log.warning("the answer on %s cannot be read: %s", subject, error)
            return "unanswered"
        if answer.id != request.id:
            _log.warning("the answer on %s is for another hold", subject)
            return "unanswered"
        return answer


async def release_hold(
    js: JetStreamContext,
    hold_id: str,
    account: str,
    why: str,
    at_ms: int,
    *,
    trace: Mapping[str, str] | None = None,
) -> None:
    """Store that the rest of a hold is free, after all usage of its request.

    `why`: the error code with which the request ended; `at_ms`: when it ended, Unix milliseconds, by which a repeated
    attempt to store this release is known from the release of a later hold with the same id. A release of a hold that
    does not exist, or of one that is released, changes nothing. Raises what `store` raises; then the hold expires at
    its deadline.
    """
    event = HoldReleased(hold_id=hold_id, account=account, why=why, at_ms=at_ms)
    payload, message_id = codec.encode(event), f"{hold_id}.released.{at_ms}"
    await store(js, subjects.usage(account), payload, message_id=message_id, headers=trace)
