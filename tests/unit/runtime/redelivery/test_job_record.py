"""E4, D7, F2: what a job record adds to the stored replies, which expire after 15 minutes."""

from __future__ import annotations

from msgspec.structs import replace

from penstock.contract.jobs import Job
from penstock.contract.reply import Delta, Started, first_seq
from penstock.runtime.accounting.prior_attempts import PriorAttempts, fold_events, with_record

QUEUED = Job(id="1", client="c", account="a", role="chat", state="queued", at_ms=1, submitted_ms=1)
RUNNING = replace(QUEUED, state="running", attempt=3, model="m", provider="p", worker="w")


def started(attempt: int) -> Started:
    return Started(
        id="1", seq=first_seq(attempt), attempt=attempt, model="m", provider="p", worker="w", at_ms=1
    )


def test_e4_a_queued_job_has_no_prior_attempts():
    assert with_record(PriorAttempts(), QUEUED) == PriorAttempts()


def test_d7_without_stored_replies_the_record_shows_the_lost_attempt():
    prior = with_record(PriorAttempts(attempt=1, next_seq=first_seq(1) + 1, output_sent=True), RUNNING)
    assert [(each.attempt, each.model) for each in prior.attempts] == [(3, "m")]
    assert (prior.attempt, prior.next_seq, prior.tried, prior.output_sent) == (3, first_seq(3) + 1, 3, True)


def test_f2_stored_replies_and_record_are_not_counted_twice():
    stored = fold_events([started(3), Delta(id="1", seq=first_seq(3) + 1, attempt=3, text="x")])
    prior = with_record(stored, RUNNING)
    assert prior.attempts == stored.attempts
    assert (prior.next_seq, prior.tried) == (stored.next_seq, 3)


def test_f2_an_announced_attempt_without_a_record_is_not_lost():
    stored = fold_events([started(3), started(4)])
    prior = with_record(stored, RUNNING)
    assert (prior.attempt, prior.attempts, prior.next_seq) == (4, (started(3),), stored.next_seq)
    first = with_record(fold_events([started(1)]), QUEUED)
    assert (first.attempt, first.attempts, first.tried) == (1, (), 0)


def test_f2_an_unsent_attempt_is_not_lost_and_does_not_count():
    prior = with_record(fold_events([started(2), started(3)]), replace(RUNNING, unsent=(2,)))
    assert ([each.attempt for each in prior.attempts], prior.tried) == ([3], 2)


def test_f2_the_recorded_call_is_lost_behind_a_later_announcement():
    prior = with_record(fold_events([started(4)]), RUNNING)
    assert ([each.attempt for each in prior.attempts], prior.attempt) == ([3], 4)
