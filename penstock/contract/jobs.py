"""What has become of a request of the batch lane, for whoever asks by its id, hours later.

One record per job, in `llm.job.<account>.<client>.<id>`, of which the stream keeps the last. It is written by
compare-and-set and its end is written once: whoever ends a job writes the record before the terminal reply event.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Raw, Struct, field

from penstock.contract.reply import Completed, Failure, Timings, Usage
from penstock.contract.subjects import ReplyAddress

__all__ = ["Job", "JobResult", "JobState"]

JobState = Literal["queued", "running", "completed", "failed"]


class Job(Struct, frozen=True, kw_only=True, tag="job", tag_field="type"):
    """The status of one job."""

    id: str
    client: str
    account: str
    user: str = ""
    role: str
    """The one it was given; as it was asked for where it was refused at the door."""
    state: JobState
    at_ms: int
    """Since when, Unix milliseconds."""
    submitted_ms: int
    deadline_ms: int | None = None
    """None: it was refused before it had one."""
    attempt: int = 0
    """The last provider attempt, counted from 1; 0: none was made."""
    model: str = ""
    """Of that attempt."""
    provider: str = ""
    worker: str = ""
    unsent: tuple[int, ...] = ()
    """Attempts that were announced and never sent to a provider, the last 50 of them."""
    work_seq: int = 0
    """The message in `LLM_WORK` that is worked on; a second copy of it is dropped."""
    end_seq: int = 0
    """`seq` of the terminal reply event."""
    error: Failure | None = None
    finish_reason: str = ""
    usage: Usage = field(default_factory=Usage)
    cost_microusd: int = 0
    timings: Timings = field(default_factory=Timings)
    result_bytes: int = 0
    """Of the result stored for it; 0 for a completed job: it was larger than a message may be, or not all of it
    was stored when its worker died.
    """
    redriven_from: int | None = None
    """The dead letter it was made of."""
    v: int = 1

    @property
    def reply_to(self) -> ReplyAddress:
        return ReplyAddress(self.account, self.client, self.id)

    @property
    def ended(self) -> bool:
        return self.state in {"completed", "failed"}


class JobResult(Struct, frozen=True, kw_only=True, tag="job_result", tag_field="type"):
    """What a completed job answered, in `llm.result.<account>.<client>.<id>.<attempt>`."""

    completed: Completed
    """The terminal event: with the provider's body in `response` where the request did not stream."""
    text: str = ""
    """Of a streamed answer."""
    choices: tuple[Raw, ...] = ()
    """Whatever else was streamed: OpenAI chunk choices, untouched, in order."""
    v: int = 1
