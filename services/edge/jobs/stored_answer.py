"""The reply events of a job that has ended, from its record and its stored result."""

from __future__ import annotations

from msgspec import Raw

from penstock.contract.jobs import Job, JobResult
from penstock.contract.reply import Delta, Failed, ReplyEvent, Started
from services.edge.dialects.chat_choices import choice_of_chunk

__all__ = ["deltas_of", "events_of"]


def events_of(job: Job, result: JobResult | None) -> list[ReplyEvent]:
    """The same answer in fewer pieces. `result`: of a completed job."""
    if result is None:
        return [] if job.error is None else [Failed(id=job.id, seq=job.end_seq, error=job.error)]
    completed = result.completed
    started = Started(
        id=job.id,
        seq=0,
        attempt=completed.attempt,
        model=completed.model,
        provider=completed.provider,
        worker=job.worker,
        at_ms=job.at_ms,
    )
    return [started, *deltas_of(result), completed]


def deltas_of(result: JobResult) -> list[Delta]:
    """Reasoning and the like, then the text, then the tool calls: how they were mixed is not stored."""
    before = [choice for choice in result.choices if not _has_tool_calls(choice)]
    after = [choice for choice in result.choices if _has_tool_calls(choice)]
    return [
        *(_delta(result, choices=(choice,)) for choice in before),
        *([_delta(result, text=result.text)] if result.text else []),
        *(_delta(result, choices=(choice,)) for choice in after),
    ]


def _delta(result: JobResult, *, text: str = "", choices: tuple[Raw, ...] = ()) -> Delta:
    return Delta(id=result.completed.id, seq=0, attempt=result.completed.attempt, text=text, choices=choices)


def _has_tool_calls(choice: Raw) -> bool:
    read = choice_of_chunk(choice)
    return read is not None and bool(read.tool_calls)
