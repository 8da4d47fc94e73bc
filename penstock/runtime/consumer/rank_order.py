"""The order in which a mailbox takes messages of its ranks: the scheduler, and the turns of later ranks by age."""

from __future__ import annotations

from collections.abc import Sequence

from nats.aio.client import Client as Nats

from penstock.contract.streams import Consumer
from penstock.runtime.consumer.delivery import Delivery
from penstock.runtime.consumer.rank_heads import RankHeads, Turn
from penstock.runtime.consumer.scheduler import PullPlan, PullScheduler, Source, slots_beside

__all__ = ["RankOrder"]


class RankOrder:
    """Decides what to request from consumers that are ranks; asks the server only when a later rank may have a turn."""

    def __init__(self, nc: Nats, consumers: Sequence[Consumer]) -> None:
        self._scheduler = PullScheduler(len(consumers))
        self._heads = RankHeads(nc, consumers)
        self._turns: dict[int, Turn] = {}
        """By later rank: the turn for which a message is requested now."""

    def observe(self, rank: int, delivery: Delivery) -> None:
        """A message of `rank` came."""
        self._heads.observe(rank, delivery)
        self._scheduler.record(rank)

    def is_early(self, rank: int, delivery: Delivery) -> bool:
        """Whether messages of ranks before may have to start earlier, because another process took the message for
        which the rank had its turn. A redelivered message comes when it may.
        """
        turn = self._turns.pop(rank, None)
        return turn is not None and delivery.number == 1 and delivery.stored_ns >= turn.before_ns

    async def next_turn(self, sources: Sequence[Source], slots: int, held: Sequence[int]) -> Turn | None:
        """The later rank that has its turn now; None: none is due, no slot is free, or none has an older message."""
        if not self._scheduler.is_due:
            return None
        first = self._scheduler.first(sources)
        later = [rank for rank, source in enumerate(sources) if rank > first and not source.is_polled]
        if not self._heads.may_precede(first, later):
            self._scheduler.skip_turn()
            return None
        coming = sum(source.outstanding for source in sources if not source.is_polled)
        if sum(held) + coming >= slots:
            return None
        turn = await self._heads.turn(first, later)
        if turn is None:
            self._scheduler.skip_turn()
        return turn

    def plan(self, sources: Sequence[Source], slots: int, held: Sequence[int], turn: Turn | None) -> PullPlan:
        """What to request now, with so many messages of each rank in flight."""
        plan = self._scheduler.plan(
            sources,
            slots,
            sum(held),
            turn=None if turn is None else turn.rank,
            reserve=turn is None and self._scheduler.is_due,
            beside=slots_beside(slots, held),
        )
        for request in plan.requests:
            self._turns.pop(request.rank, None)
            if turn is not None and request.rank == turn.rank:
                self._turns[request.rank] = turn
        return plan
