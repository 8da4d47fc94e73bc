"""Replies as a worker publishes them, for tests that deliver them in any order, twice or not live."""

from __future__ import annotations

from hypothesis import strategies as st
from msgspec import Struct

from penstock.contract.errors import ErrorCode
from penstock.contract.reply import (
    Accepted,
    Completed,
    Delta,
    Failed,
    Failure,
    ReplyEvent,
    Restarted,
    Started,
    first_seq,
)

ID = "019a9f3e-5b7c-7d21-8a40-0c6f1e2d3b4a"


class Sent(Struct, frozen=True):
    """The events of one request and the text that an application must show."""

    events: list[ReplyEvent]
    text: str
    """The correct text after the last event."""


def accepted(seq: int = 0) -> Accepted:
    return Accepted(
        id=ID, seq=seq, role="chat", complexity="simple", why="", lane="interactive", deadline_ms=1, at_ms=0
    )


def started(attempt: int, seq: int) -> Started:
    return Started(id=ID, seq=seq, attempt=attempt, model="m", provider="p", worker="w", at_ms=0)


def completed(attempt: int, seq: int) -> Completed:
    return Completed(
        id=ID, seq=seq, attempt=attempt, role="chat", model="m", provider="p", finish_reason="stop"
    )


def failed(attempt: int, seq: int, code: ErrorCode = "internal") -> Failed:
    failure = Failure(code=code, message="it broke", retry="later", retry_after_s=3.0)
    return Failed(id=ID, seq=seq, attempt=attempt, error=failure)


def attempt_events(attempt: int, pieces: int, *, after_output: bool) -> list[ReplyEvent]:
    """`restarted` if text was sent before, `started`, and deltas that say whose they are."""
    first = first_seq(attempt)
    events: list[ReplyEvent] = []
    if after_output:
        events.append(
            Restarted(id=ID, seq=first, attempt=attempt, code="provider_unavailable", message="it broke")
        )
    events.append(started(attempt, first + len(events)))
    for number in range(pieces):
        events.append(Delta(id=ID, seq=first + len(events), attempt=attempt, text=f"{attempt}.{number} "))
    return events


@st.composite
def replies(draw: st.DrawFn) -> Sent:
    """One request: `accepted`, one to four attempts, and its end."""
    pieces = draw(st.lists(st.integers(0, 5), min_size=1, max_size=4))
    events: list[ReplyEvent] = [accepted()]
    for attempt, count in enumerate(pieces, 1):
        after_output = any(isinstance(event, Delta) for event in events)
        events += attempt_events(attempt, count, after_output=after_output)
    last = events[-1]
    ends = draw(st.sampled_from([completed, failed]))
    events.append(ends(last.attempt, last.seq + 1))
    text = "".join(f"{len(pieces)}.{number} " for number in range(pieces[-1]))
    return Sent(events, text)
