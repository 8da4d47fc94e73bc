"""A stream that is read again after an event; where it held text briefly, with the attempt that the client has read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from penstock.client.sequencer import ReplySequencer
from penstock.contract.reply import ReplyEvent
from services.edge.answers.answer import Answer
from services.edge.answers.rescued_stream import RescuedStream
from services.edge.answers.stream_response import BEFORE_THE_FIRST
from services.edge.dialects.dialect import StreamWriter
from services.edge.http.errors import HttpError
from services.edge.http.exchange import Exchange
from services.edge.http.sse import Position, parse_position
from services.edge.requests.accounts import Account

__all__ = ["AmbiguousPosition", "position", "released_attempt", "resumed_stream"]

_HOLD_AGAIN_S: Final = 1.5
"""How long a stream that holds text briefly holds it where it is read again from the beginning."""


def position(exchange: Exchange) -> Position:
    """The last event that the client has, from the header of EventSource or from the query. Raises HttpError (400)."""
    queried = exchange.query().get("starting_after")
    text = queried or exchange.header(b"last-event-id")
    if not text:
        return BEFORE_THE_FIRST
    position = parse_position(text)
    if position is None:
        message = f"{text!r} is not the id of an event of a stream"
        param = "starting_after" if queried else "last-event-id"
        raise HttpError.of("invalid_request", message, param=param)
    return position


async def resumed_stream(account: Account, answer: Answer, after: Position) -> RescuedStream:
    """Raises HttpError (409) where `after` is a number alone, at which several attempts have different text."""
    rescue, attempt = answer.id.rescue, None
    if rescue == "hold_briefly" and after != BEFORE_THE_FIRST:
        stored = await account.answers.stored_events(answer.id)
        try:
            attempt = await asyncio.to_thread(released_attempt, stored, answer.writer, after)
        except AmbiguousPosition as error:
            message = "several attempts were made, and a number does not say which was read: send the id of the event"
            raise HttpError.of("restarted", message, param="starting_after") from error
    hold_s = _HOLD_AGAIN_S if rescue == "hold_briefly" and attempt is None else None
    return RescuedStream(answer.writer, rescue, hold_s=hold_s, release_attempt=attempt)


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
