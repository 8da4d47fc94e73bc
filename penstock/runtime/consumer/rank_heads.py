"""When the first waiting message of each rank was stored: which later rank may have a turn before an earlier one.

All instants are the server's, Unix nanoseconds, so that no two clocks are compared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec
import nats.errors
from msgspec import Struct
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.streams import Consumer
from penstock.runtime.consumer.delivery import Delivery

__all__ = ["RankHeads", "Turn"]

_log: Final = rate_limited_logger(__name__)
_TIMEOUT_S: Final = 1.0
_STORED_AT: Final = "Nats-Time-Stamp"


class Turn(Struct, frozen=True):
    """A later rank that may be served now."""

    rank: int
    before_ns: int
    """Every message of the ranks before was stored later than this; a message of the turn must not be."""


class _Position(Struct):
    stream_seq: int = 0


class _ConsumerState(Struct):
    """The fields of a response to CONSUMER.INFO that are used here."""

    ts: str = ""
    num_pending: int = 0
    delivered: _Position | None = None


class RankHeads:
    """Follows the deliveries of a mailbox, and asks the server only where they leave open which rank is older."""

    def __init__(self, nc: Nats, consumers: Sequence[Consumer]) -> None:
        self._nc = nc
        self._consumers = consumers
        self._since_ns = [0] * len(consumers)
        """By rank: what waits was stored at or after this instant."""
        self._turns = [0] * len(consumers)
        """By rank: the number of the last turn it had."""

    def observe(self, rank: int, delivery: Delivery) -> None:
        """A message of `rank` was delivered; of a consumer the older ones were before."""
        if delivery.number == 1:
            self._since_ns[rank] = max(self._since_ns[rank], delivery.stored_ns)

    def may_precede(self, first: int, later: Sequence[int]) -> bool:
        """Whether one of the ranks `later` may have a message that is older than all of `first`."""
        return any(self._since_ns[rank] < self._since_ns[first] for rank in later)

    async def turn(self, first: int, later: Sequence[int]) -> Turn | None:
        """The rank of `later` whose first message is older than all of the ranks before it, and which had no turn for
        the longest time; None: there is none, or the server does not answer.

        `later`: the ranks after `first` that may have messages, in their order.
        """
        asked = [rank for rank in later if self._since_ns[rank] < self._since_ns[first]]
        try:
            heads = dict(zip(asked, await asyncio.gather(*map(self._head_ns, asked)), strict=True))
        except (nats.errors.Error, msgspec.MsgspecError, TimeoutError, ValueError) as error:
            _log.warning("%s: cannot read what waits: %r", self._consumers[0].durable, error)
            return None
        turns, before_ns = [], self._since_ns[first]
        for rank in later:
            if (head_ns := heads.get(rank)) is not None and head_ns < before_ns:
                turns.append(Turn(rank, before_ns))
            before_ns = min(before_ns, self._since_ns[rank])
        if not turns:
            return None
        found = min(turns, key=lambda turn: self._turns[turn.rank])
        self._turns[found.rank] = max(self._turns) + 1
        return found

    async def _head_ns(self, rank: int) -> int | None:
        """When the first waiting message was stored; None: none waits."""
        consumer = self._consumers[rank]
        answer = await self._ask(f"$JS.API.CONSUMER.INFO.{consumer.stream}.{consumer.durable}", b"")
        state = msgspec.json.decode(answer.data, type=_ConsumerState)
        if state.num_pending == 0 or state.delivered is None:
            self._note(rank, state.ts)
            return None
        wanted = {"seq": state.delivered.stream_seq + 1, "next_by_subj": consumer.filter_subject}
        head = await self._ask(f"$JS.API.DIRECT.GET.{consumer.stream}", msgspec.json.encode(wanted))
        return self._note(rank, (head.headers or {}).get(_STORED_AT, ""))

    async def _ask(self, subject: str, payload: bytes) -> Msg:
        return await self._nc.request(subject, payload, timeout=_TIMEOUT_S)

    def _note(self, rank: int, stored: str) -> int | None:
        """Take the instant from which on the messages of `rank` that wait were stored; None: it is not known."""
        if not stored:
            return None
        self._since_ns[rank] = max(self._since_ns[rank], _unix_ns(stored))
        return self._since_ns[rank]


def _unix_ns(text: str) -> int:
    """Parse RFC 3339 with nanoseconds, in UTC as nats-server writes it."""
    seconds, _, fraction = text.rstrip("Z").partition(".")
    whole = datetime.fromisoformat(f"{seconds}+00:00").timestamp()
    return int(whole) * 10**9 + int(fraction.ljust(9, "0")[:9] or 0)
