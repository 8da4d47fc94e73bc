"""C3, C6: how many get their turn before one that comes now."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from penstock.contract.names import LANES, RANKS
from services.router.admission.arrival_rates import ArrivalRates
from services.router.admission.queue_position import (
    LaneRank,
    QuotaSharers,
    overtakable,
    position_for_quota,
    position_in_mailbox,
    spare_turns,
)
from services.router.queues.backlog import RolesCount

FIRST = LaneRank("interactive", 0)
BATCH = LaneRank("batch", 0)


class FakeBacklog:
    def __init__(self, counts: Mapping[tuple[str, str, int], int]) -> None:
        self.counts = counts

    def queued(self, role: str, lane: str) -> int:
        return self.ahead(role, lane, RANKS[-1])

    def queued_of(self, roles: tuple[str, ...]) -> RolesCount:
        return RolesCount(*(sum(self.queued(role, lane) for role in roles) for lane in LANES))

    def ahead(self, role: str, lane: str, rank: int) -> int:
        return sum(self.counts.get((role, lane, each), 0) for each in range(rank + 1))


class FakeArrivals(ArrivalRates):
    def __init__(self, rates: Mapping[tuple[str, str, int], float] | None = None) -> None:
        super().__init__()
        self.rates = rates or {}

    def per_s(self, role: str, lane: str, rank: int) -> float:
        return self.rates.get((role, lane, rank), 0.0)


NO_ARRIVALS = FakeArrivals()


def test_a_queue_has_a_safety_margin_and_an_empty_one_has_none() -> None:
    assert position_in_mailbox("chat", FakeBacklog({}), FIRST, NO_ARRIVALS).base == 1
    backlog = FakeBacklog(
        {("chat", "interactive", 0): 60, ("chat", "interactive", 2): 40, ("chat", "batch", 0): 50}
    )
    assert position_in_mailbox("chat", backlog, FIRST, NO_ARRIVALS).base == 102


def test_a_higher_rank_may_fill_only_a_share_of_the_queue() -> None:
    backlog = FakeBacklog({("chat", "interactive", 2): 80})

    base = [
        position_in_mailbox("chat", backlog, LaneRank("interactive", rank), NO_ARRIVALS).base
        for rank in RANKS
    ]

    assert base == sorted(set(base))
    assert base[3] == pytest.approx(80 / 0.7 + 1)


def test_overtaking_of_a_higher_rank_is_bounded() -> None:
    backlog = FakeBacklog({("chat", "interactive", 1): 4})
    busy = FakeArrivals({("chat", "interactive", 0): 5.0})

    position = position_in_mailbox("chat", backlog, LaneRank("interactive", 1), busy)

    assert (position.overtaking_per_s, position.most) == (5.0, 40)
    base = position.base
    assert position.start_delay_s(lambda turn: turn / 10) == pytest.approx(base / 5, abs=0.01)
    assert position.start_delay_s(lambda turn: turn / 2) == 20, "its rank has one turn of eight"


def test_requests_of_all_sharers_count_except_those_past_the_quota() -> None:
    backlog = FakeBacklog(
        {("chat", "interactive", 0): 9, ("coding", "interactive", 1): 30, ("fast", "interactive", 0): 7}
    )

    position = position_for_quota(
        "chat", backlog, FIRST, NO_ARRIVALS, QuotaSharers(("chat", "coding"), calling=19.0, unobserved=2.0)
    )
    empty = position_for_quota(
        "chat", backlog, FIRST, NO_ARRIVALS, QuotaSharers(("chat", "coding"), calling=39.0)
    )

    assert position.base == 21 + 2
    assert empty.base == 1


def test_batch_requests_take_their_share_beside_interactive_ones() -> None:
    backlog = FakeBacklog({("chat", "interactive", 0): 100, ("chat", "batch", 0): 10_000})
    sharers = QuotaSharers(("chat",), batch_share=0.25)

    assert position_for_quota("chat", backlog, FIRST, NO_ARRIVALS, sharers).base == pytest.approx(102 * 1.25)
    assert (
        position_for_quota("chat", FakeBacklog({("chat", "batch", 0): 3}), FIRST, NO_ARRIVALS, sharers).base
        == 1.25
    )


def test_batch_requests_wait_behind_present_and_future_interactive_ones() -> None:
    backlog = FakeBacklog({("chat", "interactive", 0): 20, ("chat", "batch", 0): 9})
    busy = FakeArrivals({("chat", "interactive", 0): 6.0, ("chat", "interactive", 1): 2.0})

    position = position_for_quota("chat", backlog, BATCH, busy, QuotaSharers(("chat",), batch_share=0.25))

    assert position.base == 30
    assert position.overtaking_per_s == 8
    assert position.most == 50
    assert position.start_delay_s(lambda turn: turn / 10) == 5, (
        "its slots get one turn of five, whatever comes"
    )


def test_c6_rank_0_overtakes_all_but_held_requests_and_due_turns() -> None:
    flood = {("chat", "interactive", 2): 224, ("chat", "interactive", 3): 376}

    assert overtakable("chat", FakeBacklog(flood), FIRST, slots=16) == 600 - 16 - 1
    assert (
        overtakable("chat", FakeBacklog({**flood, ("chat", "interactive", 0): 9}), FIRST, slots=16)
        == 600 - 16 - 2
    )
    assert overtakable("chat", FakeBacklog({("chat", "interactive", 2): 16}), FIRST, slots=16) == 0
    assert overtakable("chat", FakeBacklog(flood), LaneRank("interactive", RANKS[-1]), slots=16) == 0


def test_c6_overtaken_requests_do_not_count_as_ahead() -> None:
    backlog = FakeBacklog({("chat", "interactive", 3): 600})

    assert position_in_mailbox("chat", backlog, FIRST, NO_ARRIVALS, overtaken=583).base == 18
    assert (
        position_for_quota("chat", backlog, FIRST, NO_ARRIVALS, QuotaSharers(("chat",)), overtaken=583).base
        == 18
    )


def test_c3_spare_turns_leave_higher_ranks_their_turns() -> None:
    assert spare_turns(100, 60, 60, higher=0) == 40
    assert spare_turns(100, 60, 60, higher=500) == 27.5
    assert spare_turns(100, 60, 10, higher=50) == 40
