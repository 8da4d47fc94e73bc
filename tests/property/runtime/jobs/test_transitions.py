"""E4, D7: a job has one end and its state never goes back, whatever the order of the writes to its record."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from penstock.contract.jobs import Job
from penstock.contract.reply import Completed, Failed, Failure, first_seq
from penstock.runtime.jobs.transitions import (
    ended_record,
    failed_at,
    next_record,
    record_after_rejection,
    was_sent,
)

QUEUED = Job(
    id="1", client="c", account="a", role="chat", state="queued", at_ms=1, submitted_ms=1, deadline_ms=9
)
AWAITS_ROUTER = replace(QUEUED, deadline_ms=None, redriven_from=7)
RANK = {"queued": 0, "running": 1, "completed": 2, "failed": 2}


def running(attempt: int) -> Job:
    return replace(QUEUED, state="running", attempt=attempt, model=f"m-{attempt}", worker=f"w-{attempt}")


def failed(attempt: int) -> Job:
    failure = Failure(code="internal", message="x" * 5_000, retry="later")
    return ended_record(QUEUED, Failed(id="1", seq=first_seq(attempt) + 1, attempt=attempt, error=failure), 5)


def completed(attempt: int) -> Job:
    event = Completed(
        id="1",
        seq=first_seq(attempt) + 1,
        attempt=attempt,
        role="chat",
        model="m",
        provider="p",
        finish_reason="stop",
    )
    return ended_record(QUEUED, event, 5, 100)


attempts = st.integers(1, 5)
writes = st.lists(
    st.just(QUEUED)
    | st.just(AWAITS_ROUTER)
    | attempts.map(running)
    | attempts.map(failed)
    | attempts.map(completed)
    | st.just(failed(0))
)


@given(writes)
def test_d7_the_state_of_a_job_only_advances_and_ends_once(wanted: list[Job]):
    stored: Job | None = None
    ends: list[Job] = []
    for each in wanted:
        following = next_record(stored, each)
        if following is None:
            continue
        if stored is not None:
            assert not stored.ended
            assert RANK[following.state] >= RANK[stored.state]
            assert following.state != "running" or following.attempt > stored.attempt
            assert following.redriven_from == stored.redriven_from
        if following.ended:
            ends.append(following)
        stored = following
    assert len(ends) <= 1
    assert bool(ends) == any(each.ended for each in wanted)


@given(writes, st.booleans())
def test_d7_a_rejection_ends_only_an_unclaimed_job(wanted: list[Job], own_record: bool) -> None:
    stored: Job | None = None
    for each in wanted:
        stored = next_record(stored, each) or stored
    written = record_after_rejection(stored, failed(0), own_record=own_record)
    unclaimed = stored is None or stored == AWAITS_ROUTER or (own_record and stored.state == "queued")
    assert (written is not None) == unclaimed
    assert written is None or written.state == "failed"


@given(st.lists(st.integers(0, 3), max_size=20), st.booleans())
def test_f2_announced_attempts_differ_from_called_ones(workers: list[int], another_ends_it: bool) -> None:
    """Workers announce attempts and then record them, interleaved; some never record theirs."""
    stored, announced = QUEUED, 0
    unrecorded: dict[int, int] = {}
    called: set[int] = set()
    for worker in workers:
        if worker not in unrecorded:
            announced += 1
            unrecorded[worker] = announced
            continue
        number = unrecorded.pop(worker)
        following = next_record(stored, running(number))
        if following is not None:
            stored = following
            called.add(number)
    if another_ends_it:
        following = next_record(stored, failed(announced))
        assert following is not None
        stored = following
    assert {number for number in range(1, announced + 1) if was_sent(stored, number)} == called


def test_f2_a_skipped_range_of_attempts_keeps_the_record_small() -> None:
    following = next_record(running(1), running(10**12))
    assert following is not None
    assert len(following.unsent) == 50


def test_a_job_awaiting_the_router_is_queued_once_and_keeps_its_origin():
    accepted = next_record(AWAITS_ROUTER, QUEUED)
    assert accepted is not None
    assert (accepted.deadline_ms, accepted.redriven_from) == (9, 7)
    assert next_record(AWAITS_ROUTER, AWAITS_ROUTER) is None
    assert next_record(accepted, QUEUED) is None
    assert next_record(accepted, AWAITS_ROUTER) is None


def test_a_foreign_end_keeps_model_and_worker_of_the_attempt():
    end = next_record(running(2), failed(2))
    assert end is not None
    assert (end.state, end.model, end.worker, end.deadline_ms) == ("failed", "m-2", "w-2", 9)


def test_a_failed_job_returns_its_event_and_stays_small():
    event = failed_at(failed(2))
    assert event is not None
    assert (event.seq, event.attempt, event.error.code) == (first_seq(2) + 1, 2, "internal")
    assert len(event.error.message) < 2_000
    assert failed_at(completed(1)) is None
