"""A long queue delays no other: each asks at once for its next messages, and those that wait take turns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.runtime.consumer.queue_scheduler import POLL_BATCH, TURN, QueueScheduler
from penstock.runtime.consumer.scheduler import EVERY, LONG_POLL_S, PullRequest, Source


def turns(scheduler: QueueScheduler, pending: list[int], count: int) -> list[int]:
    """The queues in the order of `count` turns, each with slots for one turn only."""
    taken: list[int] = []
    held = [TURN] + [0] * (len(pending) - 1)
    for _ in range(count):
        sources = [Source(pending=each, outstanding=0 if each else POLL_BATCH) for each in pending]
        (request,) = scheduler.requests(sources, 2 * TURN, held)
        pending[request.rank] -= request.batch
        taken.append(request.rank)
    return taken


def test_a_queue_without_known_messages_is_polled_though_no_slot_is_free():
    scheduler = QueueScheduler(2, 1)
    sources = [Source(pending=20_000), Source(), Source()]
    assert scheduler.requests(sources, 64, [64, 0, 0]) == [
        PullRequest(1, POLL_BATCH, LONG_POLL_S),
        PullRequest(2, POLL_BATCH, LONG_POLL_S),
    ]
    assert scheduler.wants_more


def test_an_idle_scheduler_asks_for_nothing_more():
    scheduler = QueueScheduler(2, 1)
    assert scheduler.requests([Source(outstanding=POLL_BATCH)] * 3, 64, [0, 0, 0]) == []
    assert not scheduler.wants_more


def test_queues_of_a_lane_take_turns_and_the_last_messages_are_one_short_turn():
    scheduler = QueueScheduler(3, 0)
    assert turns(scheduler, [1000, 40, 1000], 7) == [0, 1, 2, 0, 1, 2, 0]


def test_jobs_get_one_turn_of_eight_beside_interactive_requests_and_all_without():
    taken = turns(QueueScheduler(2, 1), [10**6, 10**6, 10**6], 800)
    assert [taken.count(queue) for queue in range(3)] == [350, 350, 100]
    assert turns(QueueScheduler(1, 1), [0, 10**6], 20) == [1] * 20


def test_a_part_of_a_turn_is_never_asked_for():
    scheduler = QueueScheduler(1, 0)
    assert scheduler.requests([Source(pending=500)], 64, [64 - TURN + 1]) == []
    assert scheduler.wants_more


def test_jobs_whose_handling_takes_long_leave_half_of_the_slots_to_other_requests():
    scheduler = QueueScheduler(1, 1)
    sources = [Source(pending=0), Source(pending=10**6)]
    held, slots = [0, 0], 8 * TURN
    while jobs := [each for each in scheduler.requests(sources, slots, held) if each.rank == 1]:
        held[1] += sum(each.batch for each in jobs)
    assert held[1] == slots // 2
    assert scheduler.wants_more
    sources[0].pending = 10**6
    asked = scheduler.requests(sources, slots, held)
    assert [each.rank for each in asked] == [0]
    assert scheduler.wants_more


@given(
    queues=st.lists(
        st.tuples(
            st.builds(
                Source,
                pending=st.integers(0, 300),
                outstanding=st.sampled_from([0, 0, 3, POLL_BATCH]),
                long_poll=st.booleans(),
            ),
            st.sampled_from([0, 3, TURN, 90]),
        ),
        min_size=2,
        max_size=9,
    ),
    batch=st.integers(1, 4),
    slots=st.integers(0, 400),
)
def test_slots_are_never_exceeded_and_an_open_request_is_not_repeated(
    queues: list[tuple[Source, int]], batch: int, slots: int
):
    sources, held = [each for each, _ in queues], [each for _, each in queues]
    first = max(0, len(sources) - batch)
    scheduler = QueueScheduler(first, len(sources) - first)
    requests = scheduler.requests(sources, slots, held)
    assert len({request.rank for request in requests}) == len(requests)
    assert all(sources[request.rank].outstanding == 0 for request in requests)
    backlogged = [request for request in requests if sources[request.rank].pending]
    assert all(request.batch <= sources[request.rank].pending for request in backlogged)
    for start, most in ((0, slots), (first, slots // 2)):
        asked = sum(request.batch for request in backlogged if request.rank >= start)
        coming = sum(source.outstanding for source in sources[start:] if not source.long_poll)
        assert not asked or sum(held[start:]) + coming + asked <= most


@given(
    arrivals=st.lists(
        st.lists(st.sampled_from([0, TURN, 2 * TURN]), min_size=4, max_size=4), min_size=1, max_size=30
    )
)
def test_no_queue_waits_longer_than_a_turn_of_each_other(arrivals: list[list[int]]):
    """With slots for one turn at a time, and the fourth queue that of jobs."""
    scheduler, pending, passed = QueueScheduler(3, 1), [0] * 4, [0] * 4
    for new in arrivals:
        pending = [old + more for old, more in zip(pending, new, strict=True)]
        if not any(pending):
            continue
        (queue,) = turns(scheduler, pending, 1)
        for other in range(4):
            passed[other] = 0 if other == queue or not pending[other] else passed[other] + 1
        assert max(passed[:3]) <= 3
        assert passed[3] <= EVERY - 1
