"""E4, D7: what the record of a job adds to the stored replies, which are forgotten after a quarter of an hour."""

from __future__ import annotations

from msgspec.structs import replace

from penstock.contract.jobs import Job
from penstock.contract.reply import Delta, Started, first_seq
from services.worker.redelivery.job_record import with_record
from services.worker.redelivery.prior_attempts import PriorAttempts, fold_events

QUEUED = Job(id="1", client="c", account="a", role="chat", state="queued", at_ms=1, submitted_ms=1)
RUNNING = replace(QUEUED, state="running", attempt=3, model="m", provider="p", worker="w")


def started(attempt: int) -> Started:
    return Started(
        id="1", seq=first_seq(attempt), attempt=attempt, model="m", provider="p", worker="w", at_ms=1
    )


def test_a_job_that_nobody_tried_has_no_past():
    assert with_record(PriorAttempts(), QUEUED) == PriorAttempts()


def test_when_the_replies_are_forgotten_the_record_says_which_attempt_was_lost_and_counts_them_all():
    past = with_record(PriorAttempts(attempt=1, next_seq=first_seq(1) + 1, output_sent=True), RUNNING)
    assert [(each.attempt, each.model) for each in past.attempts] == [(3, "m")]
    assert (past.attempt, past.next_seq, past.tried, past.output_sent) == (3, first_seq(3) + 1, 3, True)


def test_what_the_stored_replies_tell_is_not_told_twice():
    stored = fold_events([started(3), Delta(id="1", seq=first_seq(3) + 1, attempt=3, text="x")])
    past = with_record(stored, RUNNING)
    assert past.attempts == stored.attempts
    assert (past.next_seq, past.tried) == (stored.next_seq, 3)


def test_f2_an_announced_attempt_that_the_record_never_reached_is_counted_past_and_is_not_lost():
    stored = fold_events([started(3), started(4)])
    past = with_record(stored, RUNNING)
    assert (past.attempt, past.attempts, past.next_seq) == (4, (started(3),), stored.next_seq)
    first = with_record(fold_events([started(1)]), QUEUED)
    assert (first.attempt, first.attempts, first.tried) == (1, (), 0)


def test_f2_an_attempt_that_was_passed_over_is_not_lost_and_uses_up_no_try():
    past = with_record(fold_events([started(2), started(3)]), replace(RUNNING, unsent=(2,)))
    assert ([each.attempt for each in past.attempts], past.tried) == ([3], 2)


def test_f2_the_call_that_the_record_tells_of_is_lost_though_only_a_later_announcement_is_stored():
    past = with_record(fold_events([started(4)]), RUNNING)
    assert ([each.attempt for each in past.attempts], past.attempt) == ([3], 4)
