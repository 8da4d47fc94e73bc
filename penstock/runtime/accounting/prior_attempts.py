"""What the stored replies of a request show of the attempts that were made for it, and the usage of lost ones (F2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from penstock.contract.errors import ErrorCode
from penstock.contract.jobs import Job
from penstock.contract.reply import (
    TERMINAL,
    Delta,
    Failed,
    ReplyEvent,
    Started,
    Usage,
    answer_bytes,
    first_seq,
)
from penstock.contract.work import ChatWork
from penstock.runtime.accounting.usage_events import AttemptRecord
from penstock.runtime.jobs.transitions import was_sent
from penstock.runtime.tokens import OUTPUT_BYTES_PER_TOKEN

__all__ = ["PriorAttempts", "fold_events", "lost_attempts", "started_of", "with_record", "without_unsent"]

_LOST: Final = "worker_lost"
"""The outcome of an attempt whose worker is gone."""


class PriorAttempts(Struct, frozen=True, kw_only=True):
    """What the stored replies of a request show."""

    known: bool = True
    """False: no event of the request is stored."""
    ended: bool = False
    """A terminal event is stored."""
    failed_with: ErrorCode | None = None
    """The error code of that event; None: the request was answered, or it is executed elsewhere."""
    attempts: tuple[Started, ...] = ()
    output_sent: bool = False
    """An attempt was begun, so output may have been sent: a cluster without a leader delivers events unstored."""
    text_sent: bool = False
    """Part of an answer was sent, or may have been sent where that is no longer known."""
    bytes_out: Mapping[int, int] = {}
    """Bytes of output that each attempt sent."""
    attempt: int = 0
    """Number of the last attempt; 0: none."""
    next_seq: int = 1
    tried: int = 0
    """Attempts made, where the job record shows more than the stored replies."""


def fold_events(events: Iterable[ReplyEvent]) -> PriorAttempts:
    """Fold the stored events of one request."""
    events = list(events)
    last = max(events, key=lambda event: event.seq, default=None)
    if last is None:
        return PriorAttempts(known=False)
    bytes_out: Counter[int] = Counter()
    for event in events:
        if isinstance(event, Delta):
            bytes_out[event.attempt] += answer_bytes(event.text, event.choices)
    return PriorAttempts(
        ended=any(isinstance(event, TERMINAL) for event in events),
        failed_with=next((event.error.code for event in events if isinstance(event, Failed)), None),
        attempts=tuple(event for event in events if isinstance(event, Started)),
        output_sent=last.attempt > 0,
        text_sent=any(bytes_out.values()),
        bytes_out=bytes_out,
        attempt=last.attempt,
        next_seq=last.seq + 1,
    )


def with_record(prior: PriorAttempts, record: Job) -> PriorAttempts:
    """`prior`, completed by the record: it outlives the stored replies, which expire after a quarter of an hour, and
    shows which announced attempts led to a call.
    """
    prior = without_unsent(prior, record)
    tried = record.attempt - len(record.unsent)
    if record.attempt <= prior.attempt and prior.attempts:
        return replace(prior, tried=tried)
    if record.attempt == 0:
        return prior
    attempt = max(record.attempt, prior.attempt)
    return replace(
        prior,
        known=True,
        attempts=(*prior.attempts, started_of(record)),
        attempt=attempt,
        next_seq=max(prior.next_seq, first_seq(attempt) + 1),
        output_sent=True,
        text_sent=True,
        tried=tried,
    )


def without_unsent(prior: PriorAttempts, record: Job) -> PriorAttempts:
    """Drop announced attempts that never led to a call: they are not lost, as they cost nothing (F2)."""
    sent = tuple(started for started in prior.attempts if was_sent(record, started.attempt))
    return replace(prior, attempts=sent)


def started_of(record: Job) -> Started:
    """The announcement of the last attempt that the record shows."""
    return Started(
        id=record.id,
        seq=first_seq(record.attempt),
        attempt=record.attempt,
        model=record.model,
        provider=record.provider,
        worker=record.worker,
        at_ms=record.at_ms,
    )


def lost_attempts(work: ChatWork, prior: PriorAttempts, models: Container[str]) -> Iterator[AttemptRecord]:
    """Estimated usage of each prior attempt at one of `models`, for those whose workers are gone.

    Usage that a worker recorded itself stays: of each attempt one event is stored.
    """
    for started in prior.attempts:
        if started.model not in models:
            continue
        sent_bytes, of_part = prior.bytes_out.get(started.attempt, 0), started.estimated_tokens
        yield AttemptRecord(
            number=started.attempt,
            model=started.model,
            credential="unknown",
            outcome=_LOST,
            usage=Usage(
                input_tokens=work.estimated_tokens if of_part is None else of_part,
                output_tokens=0 if work.kind == "embed" else sent_bytes // OUTPUT_BYTES_PER_TOKEN,
            ),
            estimated=True,
        )
