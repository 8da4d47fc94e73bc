"""E4: the record of a running job keeps the last failure when another worker takes the job over."""

from __future__ import annotations

from msgspec.structs import replace

from penstock.contract.jobs import Job
from penstock.contract.reply import FailedAttempt
from penstock.runtime.jobs.transitions import next_record

FAILURE = FailedAttempt(model="talker", provider="here", kind="server_error", status=503)
RUNNING = Job(id="id-1", client="c", account="demo", role="chat", state="running", at_ms=1, submitted_ms=1)


def test_e4_a_worker_that_knows_no_failure_keeps_the_stored_one():
    stored = replace(RUNNING, attempt=2, last_failure=FAILURE)
    taken_over = next_record(stored, replace(RUNNING, attempt=3))
    assert taken_over is not None
    assert taken_over.last_failure == FAILURE
    later = replace(FAILURE, kind="timeout")
    retried = next_record(stored, replace(RUNNING, attempt=3, last_failure=later))
    assert retried is not None
    assert retried.last_failure == later


def test_e4_a_completed_job_shows_the_failure_before_its_answer():
    stored = replace(RUNNING, attempt=2, last_failure=FAILURE)
    ended = next_record(stored, replace(RUNNING, state="completed", attempt=2))
    assert ended is not None
    assert ended.last_failure == FAILURE


def test_e4_a_failed_job_has_its_error_only():
    stored = replace(RUNNING, attempt=2, last_failure=FAILURE)
    ended = next_record(stored, replace(RUNNING, state="failed", attempt=2))
    assert ended is not None
    assert ended.last_failure is None
