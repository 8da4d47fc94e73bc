"""C6: for any backlog the first ranks are preferred, no rank is skipped for long, and slots are never exceeded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from penstock.runtime.consumer.scheduler import BRIEF_S, EVERY, STANDING_S, Ask, PullScheduler, Source

RANKS = 4


def taken_one_by_one(order: PullScheduler, waiting: list[int], count: int) -> list[int]:
    """The ranks in the order in which a single slot is given to them."""
    sources = [Source(pending=pending) for pending in waiting]
    taken = []
    for _ in range(count):
        for ask in order.asks(sources, 1, 0):
            assert ask.batch == 1
            if sources[ask.rank].pending:
                sources[ask.rank].pending -= 1
                taken.append(ask.rank)
            else:
                sources[ask.rank].outstanding = 1
    return taken


def test_full_ranks_share_five_one_one_one():
    taken = taken_one_by_one(PullScheduler(RANKS), [1000] * RANKS, 800)
    assert [taken.count(rank) for rank in range(RANKS)] == [500, 100, 100, 100]


def test_a_single_rank_uses_all_slots_at_once():
    assert PullScheduler(RANKS).asks([Source(pending=50, outstanding=0), *idle(3)], 16, 0) == [
        Ask(0, 16, 0.0)
    ]
    assert PullScheduler(1).asks([Source()], 16, 3) == [Ask(0, 13, STANDING_S)]
    assert PullScheduler(1).asks([Source(outstanding=2)], 16, 3) == []


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
        asks = order.asks(sources, free, 0)
        assert sum(ask.batch for ask in asks) == free
        for rank, source in enumerate(sources):
            got = sum(ask.batch for ask in asks if ask.rank == rank)
            passed[rank] = 0 if got else passed[rank] + free
            source.pending -= got
            assert passed[rank] < EVERY


@given(pending=st.integers(1, 500), slots=st.integers(1, 64))
def test_remaining_slots_go_to_the_first_rank(pending: int, slots: int):
    """The last rank gets at most one of every eight slots."""
    asks = PullScheduler(RANKS).asks([Source(pending=pending), *idle(2), Source(pending=500)], slots, 0)
    first = next(ask.batch for ask in asks if ask.rank == 0)
    assert first >= min(pending, slots - slots // EVERY - 1)


class Mailbox(RuleBasedStateMachine):
    """A server with messages in ranks, a mailbox that asks by the order, handlers that end at any time."""

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
    def ask(self, batches: list[int]) -> None:
        for source, batch in zip(self.sources, batches, strict=False):
            source.batch = batch
        for ask in self.order.asks(self.sources, self.slots, self.held):
            assert ask.batch > 0
            source = self.sources[ask.rank]
            assert source.outstanding == 0, "one request to a consumer at a time"
            assert (ask.waits_s == 0) == (source.pending > 0)
            source.outstanding, source.standing = ask.batch, ask.waits_s > 0
            self._deliver(ask.rank)
            if not source.standing and source.outstanding:
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
            self.ask([1] * 4)
        assert not any(self.waiting)


TestMailbox = Mailbox.TestCase


def test_the_batch_of_a_rank_follows_its_traffic():
    source = Source()
    for asked in (1, 2, 4, 8):
        assert source.batch == asked
        source.record_end(asked, asked, BRIEF_S / 2)
    source.record_end(16, 11, BRIEF_S)
    assert source.batch == 11
    source.record_end(11, 0, BRIEF_S)
    assert source.batch == 1
    source.record_end(1, 1, 10.0)
    assert source.batch == 1
    source.record_end(8, 8, 2 * BRIEF_S)
    assert source.batch == 8, "the answer came in time and was processed late"


@given(batch=st.integers(2, 1000), slots=st.integers(2, 64))
def test_a_request_for_several_is_brief_and_leaves_half_the_slots(batch: int, slots: int):
    asks = PullScheduler(RANKS).asks([Source(), Source(batch=batch), Source(), Source()], slots, 0)
    assert [ask.rank for ask in asks] == list(range(RANKS))
    long = asks[1]
    assert long.batch <= 1 + slots // 2
    assert long.waits_s == (BRIEF_S if long.batch > 1 else STANDING_S)
    assert {(ask.batch, ask.waits_s) for ask in asks if ask is not long} == {(1, STANDING_S)}
