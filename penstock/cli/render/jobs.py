"""The text of jobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from penstock.cli.program_name import command_name
from penstock.cli.render.answer import attempt_lines
from penstock.cli.render.costs import cost_text
from penstock.cli.render.retry_advice import retry_advice
from penstock.cli.render.table import cell, table
from penstock.cli.render.terminal_safe import visible
from penstock.cli.render.times import utc_text
from penstock.contract.jobs import Job

__all__ = ["job_text", "jobs_text"]

_LATE_MS: Final = 60_000
"""A job without an end this long after its deadline points to a missing router."""


def jobs_text(jobs: Sequence[Job]) -> str:
    """A table of jobs, the newest first."""
    if not jobs:
        return "No jobs."
    rows = [
        (
            visible(job.id),
            job.state,
            utc_text(job.at_ms),
            cell(job.role),
            cell(job.user or "-"),
            str(job.attempt),
            cell(job.model or "-"),
            _last_error(job),
        )
        for job in reversed(jobs)
    ]
    titles = ("id", "state", "since (UTC)", "role", "user", "attempt", "model", "error")
    return table(titles, rows, right=frozenset({5}))


def _last_error(job: Job) -> str:
    """Of a running job: that it is retried, and the kind of the failure."""
    if job.error is not None:
        return job.error.code
    is_retried = job.state == "running" and job.last_failure is not None
    return cell(f"retried after {job.last_failure.kind}") if is_retried and job.last_failure else ""


def job_text(job: Job, now_ms: int, waiting: int | None = None) -> str:
    """`waiting`: the messages in its mailbox, for a queued job."""
    return "\n".join(f"{name:<12}{visible(value)}" for name, value in _facts(job, now_ms, waiting))


def _facts(job: Job, now_ms: int, waiting: int | None) -> Iterator[tuple[str, str]]:
    yield "job", job.id
    yield "state", f"{job.state} since {utc_text(job.at_ms)} UTC"
    if waiting is not None:
        yield "mailbox", f"{waiting:,} messages, this job and those in flight included"
    yield "role", job.role
    if job.complexity is not None:
        yield "complexity", job.complexity
    if job.why:
        yield "why", job.why
    yield "client", job.client
    if job.user:
        yield "user", job.user
    yield "submitted", f"{utc_text(job.submitted_ms)} UTC"
    if job.deadline_ms is not None:
        yield "deadline", f"{utc_text(job.deadline_ms)} UTC"
    if not job.ended and job.deadline_ms is not None and now_ms > job.deadline_ms + _LATE_MS:
        yield "note", "its deadline has passed and the job has not ended: check that a router is alive"
    if job.attempt:
        yield "attempt", f"{job.attempt}, {job.model or 'model unknown'} ({job.worker or 'worker unknown'})"
    if job.state in {"running", "completed"} and job.last_failure is not None:
        yield "retried", f"an attempt before failed: {attempt_lines([job.last_failure])[0]}"
    yield from _end(job)
    if job.redriven_from is not None:
        yield "from", f"dead letter {job.redriven_from}"


def _end(job: Job) -> Iterator[tuple[str, str]]:
    if job.error is not None:
        error = job.error
        yield "error", f"{error.message} ({error.code})"
        yield "retry", retry_advice(error.code, error.retry, error.retry_after_s, error.attempts)
        for line in attempt_lines(error.attempts):
            yield "failed", line
    if job.state == "completed":
        tokens = f"{job.usage.input_tokens:,} tokens in, {job.usage.output_tokens:,} out"
        cost = cost_text(job.cost_microusd, job.unpriced_attempts)
        yield "answer", f"{tokens}, {cost}; {command_name()} jobs {job.id} --result"
