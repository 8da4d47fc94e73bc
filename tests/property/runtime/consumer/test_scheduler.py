"""C6: for any backlog the first ranks are preferred, no rank is skipped for long, and slots are never exceeded."""

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
)

RANKS = 4


def taken_one_by_one(order: PullScheduler, waiting: list[int], count: int) -> list[int]:
    """The ranks in the order in which a single slot is given to them."""
    sources = [Source(pending=pending) for pending in waiting]
    taken = []
    for _ in range(count):
        for request in order.requests(sources, 1, 0):
            assert request.batch == 1
            if sources[request.rank].pending:
                sources[request.rank].pending -= 1
                taken.append(request.rank)
            else:
                sources[request.rank].outstanding = 1
    return taken


def test_full_ranks_share_five_one_one_one():
    taken = taken_one_by_one(PullScheduler(RANKS), [1000] * RANKS, 800)
    assert [taken.count(rank) for rank in range(RANKS)] == [500, 100, 100, 100]


def test_a_single_rank_uses_all_slots_at_once():
    assert PullScheduler(RANKS).requests([Source(pending=50, outstanding=0), *idle(3)], 16, 0) == [
        PullRequest(0, 16, 0.0)
    ]
    assert PullScheduler(1).requests([Source()], 16, 3) == [PullRequest(0, 13, LONG_POLL_S)]
    assert PullScheduler(1).requests([Source(outstanding=2)], 16, 3) == []


def idle(count: int) -> list[Source]:
    return [Source(outstanding=1) for _ in range(count)]


@given(
    waiting=st.lists(st.integers(1200, 1400), min_size=2, max_size=6),
    slots=st.lists(st.integers(1, 40), min_size=30, max_size=30),
)
def test_c6_each_rank_with_work_gets_one_of_every_eight(waiting: list[int], slots: list[int]):
    order = PullScheduler(len(waiting))
    sources = [Source(pending=pending) for pending in waiting]
    passed = [0] * len(waiting)
    for free in slots:
        requests = order.requests(sources, free, 0)
        assert sum(request.batch for request in requests) == free
        for rank, source in enumerate(sources):
            got = sum(request.batch for request in requests if request.rank == rank)
            passed[rank] = 0 if got else passed[rank] + free
            source.pending -= got
            assert passed[rank] < EVERY


@given(pending=st.integers(1, 500), slots=st.integers(1, 64))
def test_remaining_slots_go_to_the_first_rank(pending: int, slots: int):
    """The last rank gets at most one of every eight slots."""
    requests = PullScheduler(RANKS).requests(
        [Source(pending=pending), *idle(2), Source(pending=500)], slots, 0
    )
    first = next(request.batch for request in requests if request.rank == 0)
    assert first >= min(pending, slots - slots // EVERY - 1)


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
        for request in self.order.requests(self.sources, self.slots, self.held):
            assert request.batch > 0
            source = self.sources[request.rank]
            assert source.outstanding == 0, "one request to a consumer at a time"
            assert (request.waits_s == 0) == (source.pending > 0)
            source.outstanding, source.long_poll = request.batch, request.waits_s > 0
            self._deliver(request.rank)
            if not source.long_poll and source.outstanding:
                source.outstanding = source.pending = 0

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
        source.pending = self.waiting[rank]

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
    requests = PullScheduler(RANKS).requests([Source(), Source(batch=batch), Source(), Source()], slots, 0)
    assert [request.rank for request in requests] == list(range(RANKS))
    long = requests[1]
    assert long.batch <= 1 + slots // 2
    assert long.waits_s == (BATCH_POLL_S if long.batch > 1 else LONG_POLL_S)
    assert {(request.batch, request.waits_s) for request in requests if request is not long} == {
        (1, LONG_POLL_S)
    }
