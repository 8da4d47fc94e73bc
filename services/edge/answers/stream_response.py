"""The response to a streamed request: its status, its events with their numbers, and comments while it waits."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from penstock.contract.reply import Failed, Failure, ReplyEvent
from services.edge.answers.failures import http_error_of_failure
from services.edge.answers.queue_comments import QueueComments
from services.edge.answers.reply_facts import ReplyFacts
from services.edge.answers.rescued_stream import RescuedStream
from services.edge.dialects.dialect import SseEvent
from services.edge.http.exchange import Exchange
from services.edge.http.sse import comment, encode_event

__all__ = ["StreamResponse"]


class StreamResponse:
    """Entered while the request runs.

    The status is sent with the first event of the answer, or when the request has waited for `wait_s`, so that an error
    before that has a status of its own.
    """

    def __init__(
        self, exchange: Exchange, stream: RescuedStream, facts: ReplyFacts, *, wait_s: float, skip: int = 0
    ) -> None:
        """`skip`: the client has that many events already."""
        self._exchange = exchange
        self._stream = stream
        self._facts = facts
        self._skip = skip
        self._comments = QueueComments(self._comment, wait_s)
        self.number = 0
        """The number of the next event."""

    async def __aenter__(self) -> Self:
        self._comments.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._comments.stop()

    async def add(self, event: ReplyEvent) -> bool:
        """Send what `event` adds; True when the answer has ended.

        Raises HttpError for a failure before anything was sent.
        """
        self._facts.add(event)
        if isinstance(event, Failed):
            await self._comments.stop()
            if self._exchange.status is None and self.number == 0:
                self._exchange.headers += self._facts.headers()
                raise http_error_of_failure(event.error)
        events = self._stream.add(event)
        if events:
            await self._send(events)
        return self._stream.ended

    async def fail(self, failure: Failure) -> None:
        """End the stream with an error that is not in the reply."""
        await self._send(self._stream.fail(failure))

    async def _send(self, events: list[SseEvent]) -> None:
        await self._comments.stop()
        first = self.number
        self.number += len(events)
        data = b"".join(
            encode_event(event, number) for number, event in enumerate(events, first) if number >= self._skip
        )
        if data:
            await self._start()
            await self._exchange.write(data)

    async def _start(self) -> None:
        if self._exchange.status is None:
            await self._exchange.start_stream(self._facts.headers())

    async def _comment(self) -> None:
        await self._start()
        await self._exchange.write(comment(self._facts.progress))
