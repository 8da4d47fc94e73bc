"""The response to a streamed request: its status, its events with their ids, and comments while it waits."""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

from penstock.contract.reply import Failed, ReplyEvent
from services.edge.answers.failures import http_error_of_failure
from services.edge.answers.pings import Pings
from services.edge.answers.queue_comments import QueueComments
from services.edge.answers.release_timer import ReleaseTimer
from services.edge.answers.reply_facts import ReplyFacts
from services.edge.answers.rescued_stream import RescuedStream, StreamPart
from services.edge.dialects.dialect import AnswerError, SseEvent
from services.edge.http.errors import HttpError
from services.edge.http.exchange import Exchange
from services.edge.http.sse import Position, comment, encode_event, encode_ping, event_id

__all__ = ["BEFORE_THE_FIRST", "StreamResponse"]

BEFORE_THE_FIRST: Final = Position(-1, None, "")
"""The position of a client that has no event."""


class StreamResponse:
    """Entered while the request runs.

    The status is sent with the first event of the answer, or when the request has waited for `wait_s`, so that an error
    before that has a status of its own.
    """

    def __init__(
        self,
        exchange: Exchange,
        stream: RescuedStream,
        facts: ReplyFacts,
        *,
        wait_s: float,
        after: Position = BEFORE_THE_FIRST,
        ping: SseEvent | None = None,
    ) -> None:
        """`after`: the last event that the client has. `ping`: see DialectRoute."""
        self._exchange = exchange
        self._stream = stream
        self._facts = facts
        self._after = after
        self._number = 0
        """That of the next event."""
        self._last_id = after.text.encode()
        """That of the last event which the client has."""
        self._comments = QueueComments(self._comment, wait_s, exchange.interrupt_with)
        self._ping = b"" if ping is None else encode_ping(ping)
        self._pings = Pings(self._write_ping, exchange.interrupt_with)
        self._release = ReleaseTimer(self._send_held, stream.hold_s, exchange.interrupt_with)

    async def __aenter__(self) -> Self:
        self._comments.start()
        if self._ping:
            self._pings.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stop_signs_of_life()

    async def add(self, event: ReplyEvent) -> bool:
        """Send what `event` adds; True when the answer has ended.

        Raises HttpError for a failure before anything was sent, and for a position that is not of this stream.
        """
        self._facts.add(event)
        if isinstance(event, Failed):
            await self._release.stop()
            await self._comments.stop()
            if self._exchange.status is None and self._number == 0:
                raise http_error_of_failure(event.error)
        if self._release.is_pending:
            async with self._release.paused():
                await self._add(event)
        else:
            await self._add(event)
        return self._stream.ended

    async def _add(self, event: ReplyEvent) -> None:
        parts = self._stream.add(event)
        if parts:
            await self._send(parts)
        elif self._stream.holds_text:
            self._release.start()

    def add_headers(self) -> None:
        """For the response to a request that failed before its status was sent."""
        self._exchange.headers += self._facts.headers()

    async def fail(self, error: AnswerError) -> None:
        """End the stream with an error that is not in the reply: a client that resumes after it misses nothing."""
        await self._stop_signs_of_life()
        events = (event for part in self._stream.fail(error) for event in part.events)
        await self._write(b"".join(encode_event(event, self._last_id) for event in events))

    async def end(self) -> None:
        """End the response. Raises HttpError where the client had every event, or claims to have more."""
        await self._stop_signs_of_life()
        self._exchange.is_broken = self._stream.has_failed
        if self._exchange.status is not None:
            await self._exchange.end()
        elif self._after.number >= self._number:
            raise HttpError.of(
                "invalid_request", "the stream ends before this position", param="starting_after"
            )
        else:
            await self._exchange.respond(204, b"")  # EventSource reconnects until it reads this status

    async def _send_held(self) -> None:
        await self._send(self._stream.release())

    async def _send(self, parts: list[StreamPart]) -> None:
        data = self._encoded(parts[0]) if len(parts) == 1 else b"".join(map(self._encoded, parts))
        if data:
            if self._comments.is_active:  # not before: a client that has the first events waits for more
                await self._comments.stop()
            await self._write(data)
            self._pings.sent()

    def _encoded(self, part: StreamPart) -> bytes:
        """The events of `part` that the client does not have. Raises HttpError (409)."""
        first, after = self._number, self._after.number
        self._number += len(part.events)
        if first <= after < self._number and self._after.digest not in {None, part.digest}:
            message = "another attempt has replaced what was read: read the answer again from the beginning"
            raise HttpError.of("restarted", message, param="starting_after")
        last = self._number - 1
        if last > after:
            self._last_id = event_id(last, part.digest)
        if first == last > after:  # nearly always
            return encode_event(part.events[0], self._last_id)
        return b"".join(
            encode_event(event, event_id(number, part.digest))
            for number, event in enumerate(part.events, first)
            if number > after
        )

    async def _write(self, data: bytes) -> None:
        if self._exchange.status is None:
            await self._exchange.start_stream(self._facts.headers())
        await self._exchange.write(data)

    async def _write_ping(self) -> None:
        if self._exchange.status is not None:
            await self._exchange.write(self._ping)

    async def _stop_signs_of_life(self) -> None:
        await self._release.stop()
        await self._comments.stop()
        await self._pings.stop()

    async def _comment(self) -> None:
        await self._write(comment(self._facts.progress))
