"""What the stored replies of a request show of the attempts that were made for it, and the usage of lost ones (F2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Final

from msgspec import Struct

from penstock.contract.errors import ErrorCode
from penstock.contract.reply import TERMINAL, Delta, Failed, ReplyEvent, Started, Usage, answer_bytes
from penstock.contract.work import ChatWork
from penstock.runtime.accounting.usage_events import AttemptRecord
from penstock.runtime.tokens import OUTPUT_BYTES_PER_TOKEN

__all__ = ["PriorAttempts", "fold_events", "lost_attempts"]

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


def lost_attempts(work: ChatWork, prior: PriorAttempts, models: Container[str]) -> Iterator[AttemptRecord]:
    """Estimated usage of each prior attempt at one of `models`, for those whose workers are gone.

    Usage that a worker recorded itself stays: of each attempt one event is stored.
    """
    for started in prior.attempts:
        if started.model not in models:
            continue
        sent_bytes = prior.bytes_out.get(started.attempt, 0)
        yield AttemptRecord(
            number=started.attempt,
            model=started.model,
            credential="unknown",
            outcome=_LOST,
            usage=Usage(
                input_tokens=work.estimated_tokens, output_tokens=sent_bytes // OUTPUT_BYTES_PER_TOKEN
            ),
            estimated=True,
        )
