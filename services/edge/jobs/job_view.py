"""The status of a job as JSON for HTTP clients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from penstock.contract.jobs import Job
from penstock.contract.reply import FailedAttempt, Failure

__all__ = ["job_page", "job_view", "submitted_view"]


def job_view(job: Job) -> dict[str, Any]:
    """Instants are Unix seconds, as in OpenAI's objects."""
    error = job.error
    usage = job.usage
    return {
        "id": job.id,
        "object": "job",
        "state": job.state,
        "role": job.role,
        "model": job.model or None,
        "user": job.user or None,
        "attempts": job.attempt,
        "submitted_at": job.submitted_ms // 1000,
        "changed_at": job.at_ms // 1000,
        "deadline_at": None if job.deadline_ms is None else job.deadline_ms // 1000,
        "finish_reason": job.finish_reason or None,
        "usage": {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.input_tokens + usage.output_tokens,
        }
        if job.state == "completed"
        else None,
        "cost_microusd": None if job.unpriced_attempts else job.cost_microusd,
        "last_failure": None if job.last_failure is None else _attempt_view(job.last_failure),
        "error": None if error is None else _error_view(error),
    }


def _attempt_view(attempt: FailedAttempt) -> dict[str, Any]:
    """Without the provider's message, as the errors of other requests."""
    return {"model": attempt.model, "kind": attempt.kind, "status": attempt.status}


def _error_view(failure: Failure) -> dict[str, Any]:
    fields: dict[str, Any] = {"code": failure.code, "message": failure.message}
    if failure.categories:
        fields["categories"] = failure.categories
    return fields


def submitted_view(request_id: str) -> dict[str, Any]:
    """A job that is stored, and that no router has read yet."""
    return {"id": request_id, "object": "job", "state": "queued"}


def job_page(jobs: Sequence[Job], *, after: str | None, limit: int) -> dict[str, Any] | None:
    """The newest `limit` jobs, or those after the one with the id `after`; None: there is no such job.

    By submission, so that a job keeps its place while its state changes.
    """
    ordered = sorted(jobs, key=lambda job: (job.submitted_ms, job.id), reverse=True)
    start = 0
    if after is not None:
        found = next((place for place, job in enumerate(ordered) if job.id == after), None)
        if found is None:
            return None
        start = found + 1
    page = ordered[start : start + limit]
    return {
        "object": "list",
        "data": [job_view(job) for job in page],
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
        "has_more": start + limit < len(ordered),
    }
