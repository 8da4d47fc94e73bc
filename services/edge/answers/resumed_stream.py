"""A stream that held text briefly, read again after an event: which attempt the client has read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from penstock.client.sequencer import ReplySequencer
from penstock.contract.reply import ReplyEvent
from services.edge.answers.rescued_stream import RescuedStream
from services.edge.dialects.dialect import StreamWriter
from services.edge.http.sse import Position

__all__ = ["AmbiguousPosition", "released_attempt"]


class AmbiguousPosition(Exception):
    """A number without a checksum, at which several attempts have different text."""


def released_attempt(
    stored: Sequence[ReplyEvent], new_writer: Callable[[], StreamWriter], after: Position
) -> int | None:
    """The number of the attempt whose text was the first to be sent; None: none has started.

    Where several attempts have the same text up to `after`, one that does not end in an error. Where none has the
    position, the last one: the position is refused then. Raises AmbiguousPosition.
    """
    sequencer = ReplySequencer()
    events = [*sequencer.deliver(stored), *sequencer.deliver_valid_attempt(stored)]
    attempts = list(dict.fromkeys(event.attempt for event in events if event.attempt > 0))
    found: int | None = None
    digests: set[int] = set()
    for attempt in attempts:
        stream = RescuedStream(new_writer, "hold_briefly", release_attempt=attempt)
        digest = _digest_at(stream, events, after.number)
        if digest is None or after.digest not in {None, digest}:
            continue
        digests.add(digest)
        if found is None or not stream.has_failed:
            found = attempt
    if len(digests) > 1:
        raise AmbiguousPosition
    if found is None and attempts:
        return attempts[-1]
    return found


def _digest_at(stream: RescuedStream, events: Sequence[ReplyEvent], number: int) -> int | None:
    """The checksum of the event with this number; None: there is none."""
    digest, count = None, 0
    for event in events:
        for part in stream.add(event):
            if count <= number < count + len(part.events):
                digest = part.digest
            count += len(part.events)
        if stream.ended:
            break
    return digest
