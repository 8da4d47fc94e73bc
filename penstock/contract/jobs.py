"""The status and the result of a job, a request of the batch lane.

There is one record per job, in `llm.job.<account>.<client>.<id>`, of which the stream keeps the last version. It is
written by compare-and-set, and its end is written once, before the terminal reply event.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

from msgspec import Raw, Struct, field

from penstock.contract.names import Complexity
from penstock.contract.reply import Completed, FailedAttempt, Failure, Timings, Usage
from penstock.contract.subjects import ReplyAddress

__all__ = ["JOB_STATES", "Job", "JobResult", "JobState"]

JobState = Literal["queued", "running", "completed", "failed"]
JOB_STATES: Final[tuple[JobState, ...]] = get_args(JobState)


class Job(Struct, frozen=True, kw_only=True, tag="job", tag_field="type"):
    """The status of one job."""

    id: str
    client: str
    account: str
    user: str = ""
    role: str
    """The role that the router chose; the requested one when the request was rejected."""
    complexity: Complexity | None = None
    """As the router judged it; None: it has not, or a service of an earlier version wrote the record."""
    why: str = ""
    """The evidence for role and complexity, as text."""
    state: JobState
    at_ms: int
    """When `state` was entered, Unix milliseconds."""
    submitted_ms: int
    deadline_ms: int | None = None
    """None: the request was rejected before it had a deadline."""
    attempt: int = 0
    """Number of the last provider attempt, from 1; 0: none."""
    model: str = ""
    """The model of that attempt."""
    provider: str = ""
    worker: str = ""
    unsent: tuple[int, ...] = ()
    """Attempts that were announced and never sent to a provider; at most the last 50."""
    work_seq: int = 0
    """Sequence of the message in `LLM_WORK` that is processed; a second copy of it is dropped."""
    end_seq: int = 0
    """`seq` of the terminal reply event."""
    last_failure: FailedAttempt | None = None
    """Of a running or completed job: why the last attempt that failed did, as far as its worker knows; None: none
    did. A failed job has its failures in `error`."""
    error: Failure | None = None
    finish_reason: str = ""
    usage: Usage = field(default_factory=Usage)
    cost_microusd: int = 0
    unpriced_attempts: int = 0
    """As in `Completed`: above 0, the cost is not known."""
    timings: Timings = field(default_factory=Timings)
    result_bytes: int = 0
    """Size of the stored result. 0 for a completed job: the result exceeded the message limit, or was only partly
    stored when its worker died.
    """
    redriven_from: int | None = None
    """Sequence of the dead letter from which the job was redriven."""
    v: int = 1

    @property
    def reply_to(self) -> ReplyAddress:
        return ReplyAddress(self.account, self.client, self.id)

    @property
    def ended(self) -> bool:
        return self.state in {"completed", "failed"}


class JobResult(Struct, frozen=True, kw_only=True, tag="job_result", tag_field="type"):
    """The answer of a completed job, in `llm.result.<account>.<client>.<id>.<attempt>`."""

    completed: Completed
    """The terminal event, with the provider's body in `response` when the request did not stream."""
    text: str = ""
    """The text of a streamed answer."""
    choices: tuple[Raw, ...] = ()
    """All other streamed content: OpenAI chunk choices, unchanged and in order."""
    v: int = 1
