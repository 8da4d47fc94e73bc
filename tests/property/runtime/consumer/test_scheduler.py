"""C6: for any backlog the first ranks are preferred, later ones wait for them, and slots are never exceeded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from penstock.runtime.consumer.scheduler import (
    BATCH_POLL_S,
    EVERY,
    LONG_POLL_S,
    PullRequest,
    PullScheduler,
    Source,
    slots_beside,
)

RANKS = 4


def idle(count: int) -> list[Source]:
    """Ranks with an open long poll."""
    return [Source(outstanding=1) for _ in range(count)]


def waiting(count: int) -> Source:
    return Source(pending=count, is_known=True)


def test_the_first_rank_with_messages_uses_all_slots_at_once():
    plan = PullScheduler(RANKS).plan([waiting(50), *idle(3)], 16, 0)
    assert plan.requests == (PullRequest(0, 16, 0.0),)
    assert plan.withdrawn == (1, 2, 3), "nothing of them may start before the messages left in rank 0"
    assert plan.wants_more


def test_a_single_rank_uses_all_slots_at_once():
    assert PullScheduler(1).plan([Source()], 16, 3).requests == (PullRequest(0, 13, LONG_POLL_S),)
    assert PullScheduler(1).plan([Source(outstanding=2)], 16, 3).requests == ()


def test_a_rank_is_polled_only_when_it_and_those_before_it_are_known_to_be_empty():
    sources = [*idle(1), Source(), Source(is_known=True), Source(is_known=True)]
    scheduler = PullScheduler(RANKS)
    assert scheduler.plan(sources, 16, 0).requests == (PullRequest(1, 16, 0.0),)
    sources[1].is_known = True
    assert scheduler.plan(sources, 16, 0).requests == (
        PullRequest(1, 1, LONG_POLL_S),
        PullRequest(2, 16, 0.0),
    ), "of the later ranks nothing was known from then on"


def test_c6_without_a_free_slot_no_rank_is_polled_behind_one_that_is_not():
    """Rank 1 brought the message that took the last slot; rank 0 is known to be empty as long as its poll is open."""
    sources = [*idle(1), Source(is_known=True), *idle(2)]
    scheduler = PullScheduler(RANKS)
    plan = scheduler.plan(sources, 16, 16)
    assert (plan.requests, plan.withdrawn, plan.wants_more) == ((), (2, 3), True)
    sources[2] = sources[3] = Source()
    plan = scheduler.plan(sources, 16, 16)
    assert (plan.requests, plan.withdrawn, plan.wants_more) == ((), (), True)


def test_c6_a_later_rank_that_waits_for_its_turn_gets_the_next_slot():
    sources = [waiting(50), Source(), Source(), Source()]
    scheduler = PullScheduler(RANKS)
    for _ in range(EVERY - 1):
        assert not scheduler.is_due
        scheduler.record(0)
    assert scheduler.is_due
    assert scheduler.first(sources) == 0
    assert scheduler.plan(sources, 16, 16, reserve=True).requests == ()
    plan = scheduler.plan(sources, 16, 15, turn=2)
    assert plan.requests == (PullRequest(2, 1, 0.0),)
    assert not scheduler.is_due


def test_a_message_of_the_last_rank_is_a_turn():
    scheduler = PullScheduler(RANKS)
    for _ in range(EVERY - 1):
        scheduler.record(0)
    scheduler.record(RANKS - 1)
    assert not scheduler.is_due


@given(
    held=st.lists(st.integers(0, 20), min_size=RANKS, max_size=RANKS),
    pending=st.lists(st.sampled_from([0, 1, 50]), min_size=RANKS, max_size=RANKS),
    slots=st.integers(1, 40),
    reserve=st.booleans(),
)
def test_c6_only_the_first_ranks_exceed_the_slots_and_only_beside_later_ones(
    held: list[int], pending: list[int], slots: int, reserve: bool
):
    beside = slots_beside(slots, held)
    sources = [Source(pending=count, is_known=True) for count in pending]
    plan = PullScheduler(RANKS).plan(sources, slots, sum(held), beside=beside, reserve=reserve)
    asked = [0] * RANKS
    for request in plan.requests:
        asked[request.rank] += request.batch if request.waits_s == 0 else 0
    first, later = sum(asked[:2]), sum(asked[2:])
    assert not later or sum(held) + first + later <= slots
    assert not first or sum(held) + first <= slots + (0 if reserve else min(slots // 4, sum(held[2:])))
    if pending[0] and sum(held) < slots + beside and not reserve:
        assert asked[0] == min(pending[0], slots + beside - sum(held))


class Mailbox(RuleBasedStateMachine):
    """A server with messages in ranks, a mailbox that follows the scheduler, handlers that end at any time."""

    @initialize(ranks=st.integers(1, 4), slots=st.integers(1, 20))
    def begin(self, ranks: int, slots: int) -> None:
        self.slots = slots
        self.order = PullScheduler(ranks)
        self.sources = [Source() for _ in range(ranks)]
        self.waiting = [0] * ranks
        self.held = 0

    @rule(rank=st.integers(0, 3), count=st.integers(1, 30))
    def publish(self, rank: int, count: int) -> None:
        rank %= len(self.sources)
        self.waiting[rank] += count
        self._deliver(rank)

    @rule(batches=st.lists(st.sampled_from([1, 2, 8, 64]), min_size=4, max_size=4))
    def request(self, batches: list[int]) -> None:
        for source, batch in zip(self.sources, batches, strict=False):
            source.batch = batch
        for _ in range(2 * len(self.sources) + 1):
            plan = self.order.plan(self.sources, self.slots, self.held)
            for rank in plan.withdrawn:
                self.sources[rank] = Source(batch=self.sources[rank].batch)
            for request in plan.requests:
                self._answer(request)
        for rank, source in enumerate(self.sources):
            assert not source.is_polled or all(before.is_polled for before in self.sources[:rank])

    def _answer(self, request: PullRequest) -> None:
        assert request.batch > 0
        source = self.sources[request.rank]
        assert source.outstanding == 0, "one request to a consumer at a time"
        source.outstanding, source.long_poll = request.batch, request.waits_s > 0
        self._deliver(request.rank)
        if not source.long_poll and source.outstanding:
            source.outstanding = source.pending = 0
            source.is_known = True

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        self.held -= data.draw(st.integers(1, self.held))

    @rule(rank=st.integers(0, 3))
    def expire(self, rank: int) -> None:
        source = self.sources[rank % len(self.sources)]
        if source.outstanding:
            source.outstanding = source.pending = 0

    @rule(rank=st.integers(0, 3))
    def another_process_takes_all(self, rank: int) -> None:
        self.waiting[rank % len(self.sources)] = 0

    def _deliver(self, rank: int) -> None:
        source = self.sources[rank]
        count = min(source.outstanding, self.waiting[rank])
        if not count:
            return
        self.waiting[rank] -= count
        self.held += count
        source.outstanding -= count
        source.pending, source.is_known = self.waiting[rank], True

    @invariant()
    def slots_are_kept_to(self) -> None:
        if hasattr(self, "sources"):
            out = sum(source.outstanding for source in self.sources)
            assert self.held + out <= self.slots + len(self.sources) - 1

    @rule()
    def whatever_waits_comes_in_the_end(self) -> None:
        for _ in range(3 * (sum(self.waiting) + len(self.waiting))):
            self.held = 0
            self.request([1] * 4)
        assert not any(self.waiting)


TestMailbox = Mailbox.TestCase


def test_the_batch_of_a_rank_follows_its_traffic():
    source = Source()
    for requested in (1, 2, 4, 8):
        assert source.batch == requested
        source.record_end(requested, requested, BATCH_POLL_S / 2)
    source.record_end(16, 11, BATCH_POLL_S)
    assert source.batch == 11
    source.record_end(11, 0, BATCH_POLL_S)
    assert source.batch == 1
    source.record_end(1, 1, 10.0)
    assert source.batch == 1
    source.record_end(8, 8, 2 * BATCH_POLL_S)
    assert source.batch == 8, "the answer came in time and was processed late"


@given(batch=st.integers(2, 1000), slots=st.integers(2, 64))
def test_a_request_for_several_is_brief_and_leaves_half_the_slots(batch: int, slots: int):
    sources = [Source(is_known=True) for _ in range(RANKS)]
    sources[1].batch = batch
    requests = PullScheduler(RANKS).plan(sources, slots, 0).requests
    assert [request.rank for request in requests] == list(range(RANKS))
    long = requests[1]
    assert long.batch <= 1 + slots // 2
    assert long.waits_s == (BATCH_POLL_S if long.batch > 1 else LONG_POLL_S)
    assert {(request.batch, request.waits_s) for request in requests if request is not long} == {
        (1, LONG_POLL_S)
    }
