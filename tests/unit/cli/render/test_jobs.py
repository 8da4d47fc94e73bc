"""E4: `penstock jobs` shows why a job was routed as it was, and why it is retried."""

from __future__ import annotations

from msgspec.structs import replace

from penstock.cli.render.jobs import job_text, jobs_text
from penstock.contract.jobs import Job
from penstock.contract.reply import FailedAttempt

FAILURE = FailedAttempt(
    model="talker", provider="here", kind="server_error", status=503, message="try\nagain\x1b[2J later"
)
RETRIED = Job(
    id="id-1",
    client="c",
    account="demo",
    role="chat",
    complexity="simple",
    why="a short question",
    state="running",
    at_ms=1,
    submitted_ms=1,
    attempt=2,
    model="talker",
    worker="w-1",
    last_failure=FAILURE,
)


def test_e4_a_job_that_is_retried_shows_its_last_failure():
    assert "retried after server_error" in jobs_text([RETRIED])
    text = job_text(RETRIED, 1)
    (line,) = (line for line in text.splitlines() if "an attempt before" in line)
    assert "talker at here: server_error, HTTP 503: try again" in line
    assert "\x1b" not in text
    assert "a short question" in text


def test_e4_a_job_whose_first_attempt_runs_shows_no_failure():
    job = replace(RETRIED, attempt=1, last_failure=None)
    assert "server_error" not in jobs_text([job])
    assert "attempt before" not in job_text(job, 1)


def test_e4_a_completed_job_shows_why_it_was_retried():
    done = replace(RETRIED, state="completed")
    assert "an attempt before failed: talker at here: server_error" in job_text(done, 1)
    assert "server_error" not in jobs_text([done]), "it has no error"


def test_f4_a_job_at_models_without_a_price_has_an_unknown_cost():
    done = replace(RETRIED, state="completed", cost_microusd=20, unpriced_attempts=1)
    assert "$0.00002 + price unknown;" in job_text(done, 1)
