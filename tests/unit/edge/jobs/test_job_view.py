"""The status of a job as JSON, and the pages of a list."""

from __future__ import annotations

from typing import Any

from penstock.contract.jobs import Job
from penstock.contract.reply import FailedAttempt, Failure, Usage
from services.edge.jobs.job_view import job_page, job_view


def a_job(job_id: str = "j", submitted_ms: int = 1_000, **fields: Any) -> Job:
    known: dict[str, Any] = {"client": "c", "account": "a", "role": "chat", "state": "queued", "at_ms": 5_999}
    return Job(id=job_id, submitted_ms=submitted_ms, **known | fields)


def ids(page: dict[str, Any] | None) -> list[str]:
    assert page is not None
    return [job["id"] for job in page["data"]]


def test_e4_a_completed_job_has_its_usage_and_cost():
    job = a_job(
        state="completed",
        deadline_ms=9_000,
        model="m",
        attempt=2,
        usage=Usage(input_tokens=3, output_tokens=4),
        cost_microusd=5,
    )
    view = job_view(job)
    assert view["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    assert (view["cost_microusd"], view["model"], view["attempts"]) == (5, "m", 2)
    assert (view["submitted_at"], view["changed_at"], view["deadline_at"]) == (1, 5, 9)
    assert view["error"] is None


def test_f4_the_cost_of_a_job_with_an_unknown_price_is_null():
    assert job_view(a_job(state="completed", unpriced_attempts=1))["cost_microusd"] is None


def test_e4_a_failed_job_has_its_error_and_no_usage():
    failure = Failure(code="cancelled", message="why", retry="never")
    view = job_view(a_job(state="failed", error=failure))
    assert view["error"] == {"code": "cancelled", "message": "why"}
    assert view["usage"] is None


def test_e4_a_job_that_is_retried_shows_its_last_failure_without_the_providers_message():
    failure = FailedAttempt(model="m", provider="p", kind="server_error", status=503, message="secret")
    view = job_view(a_job(state="running", attempt=3, last_failure=failure))
    assert view["last_failure"] == {"model": "m", "kind": "server_error", "status": 503}
    assert job_view(a_job(state="running", attempt=1))["last_failure"] is None


def test_e4_pages_go_from_the_newest_job_to_the_oldest():
    jobs = [a_job(f"j{number}", number) for number in (2, 5, 1, 4, 3)]
    first = job_page(jobs, after=None, limit=2)
    assert ids(first) == ["j5", "j4"]
    assert first is not None
    assert (first["has_more"], first["last_id"]) == (True, "j4")
    assert ids(job_page(jobs, after="j4", limit=2)) == ["j3", "j2"]
    last = job_page(jobs, after="j2", limit=2)
    assert ids(last) == ["j1"]
    assert last is not None
    assert last["has_more"] is False
    assert ids(job_page(jobs, after="j1", limit=2)) == []


def test_e4_a_page_after_an_unknown_job_does_not_exist():
    assert job_page([a_job()], after="other", limit=2) is None
