"""One request and the events of its reply, on the application's side."""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from types import TracebackType
from typing import Any, Final, Self

import nats.errors
from msgspec import Struct
from nats.aio.client import Client as Nats

from penstock.bus.clock import loop_now_s
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.trace_names import OPERATION_NAME, REQUEST_ID, ROLE, SPAN_CLIENT
from penstock.bus.tracing import Attributes, Span, Tracer
from penstock.client.follow import Followed, follow
from penstock.client.submit import EncodedRequest, Request, encode_request, operation_of, role_of, submit
from penstock.client.subscription import ReplySubscription
from penstock.client.timings import ClientTimings
from penstock.client.unavailable import cause
from penstock.client.whole_feed import WholeFeed
from penstock.contract import subjects
from penstock.contract.codec import encode
from penstock.contract.reply import TERMINAL, Accepted, Failed, ReplyEvent
from penstock.contract.request import CancelRequest
from penstock.errors import ClientClosed, NoReply, NotAccepted

__all__ = ["Stream", "StreamedRequest", "cancel"]

_log: Final = rate_limited_logger(__name__)
_ABANDONED: Final = "abandoned"
_SENT: Final[Any] = None
"""What the generator yields to `Stream.__aenter__` once the request is sent; it reaches no application."""


async def cancel(nc: Nats, account: str, request_id: str, reason: str) -> None:
    """Publish the cancel event of one request. A connection that is lost sends it when it is back.

    Raises NotAccepted when its buffer is full, ClientClosed, and ValueError for a reason that is too long.
    """
    subject = subjects.cancel(account, request_id)
    try:
        await nc.publish(subject, encode(CancelRequest(reason=reason)))
    except nats.errors.MaxPayloadError as error:
        raise ValueError(f"the reason has {len(reason):,} characters: use a shorter one") from error
    except nats.errors.ConnectionClosedError as error:
        raise ClientClosed from error
    except nats.errors.Error as error:
        raise NotAccepted(f"request {request_id} was not cancelled", cause(nc, subject, error)) from error


class StreamedRequest(Struct, eq=False):
    """The state of one request that its event generator uses.

    It holds no reference to the Stream: a generator in a reference cycle is closed by the garbage collector some time
    later, and not when the loop over it is left.
    """

    nc: Nats
    subscription: ReplySubscription
    request: Request
    timeout_s: float
    timings: ClientTimings
    tracer: Tracer
    cancel_on_exit: bool
    submit_s: float | None = None
    """To wait for JetStream's acknowledgement, where that is shorter than `timeout_s`."""
    parent: str | None = None
    """The `traceparent` of the caller's span, under which the span of the request is."""
    traceparent: str | None = None
    """That of the request's own span, once it is sent; None while tracing is off."""
    entered: bool = False
    """Sent by the context manager, not by the iteration."""
    closing: bool = False
    """The application closes the stream itself, through the context manager or `aclose`."""

    async def events(self) -> AsyncGenerator[ReplyEvent, None]:
        """Submit the request and yield its events; cancel it when the generator is left before the terminal one."""
        encoded = await encode_request(self.nc, self.request)
        span = self._start_span()
        outcome: str | None = _ABANDONED
        collected = False
        try:
            async with self.subscription.feed(self.request.id, self.subscription.client_name) as feed:
                await self._submit(encoded)
                followed = self._followed()
                if self.entered:
                    yield _SENT
                async for event in follow(self.nc, feed, followed):
                    if isinstance(event, Accepted):
                        followed.note_accepted(event)
                    elif isinstance(event, TERMINAL):
                        outcome = event.error.code if isinstance(event, Failed) else None
                    yield event
            if outcome == _ABANDONED:
                raise self._no_end(followed)
        except GeneratorExit:
            collected = outcome == _ABANDONED and self.cancel_on_exit and not self.closing
            raise
        finally:
            span.end(error=outcome)
            if outcome == _ABANDONED:
                await self.cancel()
            if collected:
                _warn_left_open(self.request.id)

    async def whole(self) -> list[ReplyEvent]:
        """Submit the request and return its events, the terminal one last: for a reply of few events.

        Raises as `events`. A call that is cancelled cancels the request.
        """
        encoded = await encode_request(self.nc, self.request)
        span = self._start_span()
        outcome: str | None = _ABANDONED
        replies, live = self.subscription, WholeFeed()
        replies.add(self.request.id, live)
        try:
            try:
                await self._submit(encoded)
                followed = self._followed()
                is_whole = await live.wait(followed)
            finally:
                replies.discard(self.request.id, live)
            events = live.events if is_whole else await self._followed_from(live, followed)
            end = events[-1]
            outcome = end.error.code if isinstance(end, Failed) else None
        finally:
            span.end(error=outcome)
            if outcome == _ABANDONED:
                await self.cancel()
        return events

    async def _followed_from(self, live: WholeFeed, followed: Followed) -> list[ReplyEvent]:
        """The whole reply, of which `live` has received a part."""
        followed.from_store = True
        events: list[ReplyEvent] = []
        async with self.subscription.feed(self.request.id, self.subscription.client_name) as feed:
            for event in live.events:
                feed.put(event)
            async for each in follow(self.nc, feed, followed):
                if live.accepted is None and isinstance(each, Accepted):
                    followed.note_accepted(each)
                events.append(each)
        if not events or not isinstance(events[-1], TERMINAL):
            raise self._no_end(followed)
        return events

    def _start_span(self) -> Span:
        attributes: Attributes = {
            OPERATION_NAME: operation_of(self.request),
            REQUEST_ID: self.request.id,
            ROLE: role_of(self.request),
        }
        span = self.tracer.start(SPAN_CLIENT, "client", parent=self.parent, attributes=attributes)
        self.traceparent = span.traceparent
        return span

    def _submit(self, encoded: EncodedRequest) -> Awaitable[None]:
        return submit(
            self.nc,
            self.subscription.account,
            encoded,
            timeout_s=self.timeout_s if self.submit_s is None else min(self.timeout_s, self.submit_s),
            traceparent=self.traceparent,
        )

    def _no_end(self, followed: Followed) -> NoReply:
        return followed.no_end(
            f"request {self.request.id} had no terminal event before its deadline",
            "Send it again if the answer is still wanted",
        )

    async def cancel(self) -> None:
        """Cancel the request, unless it is detached or the client is closed."""
        if not self.cancel_on_exit or self.nc.is_closed:
            return
        try:
            await cancel(
                self.nc, self.subscription.account, self.request.id, "the application stopped reading"
            )
        except NotAccepted as error:
            # Raised here, it would replace the application's own exception, or its cancellation.
            _log.warning("%s", error)

    def _followed(self) -> Followed:
        subject = subjects.reply(self.subscription.account, self.subscription.client_name, self.request.id)
        began_s = loop_now_s()
        return Followed(subject, began_s + self.timeout_s + self.timings.grace_s, self.timings, began_s)


class Stream:
    """The events of one request. The last event is `completed` or `failed`.

    `async with client.stream(...) as stream` sends the request, and cancels it on exit if the last event was not read;
    `detach()` and `cancel_on_exit=False` leave it running, to be resumed by its `id`. Without `async with`, the request
    is sent when the iteration begins. It is then cancelled when the stream object is collected, which may be late, and
    a ResourceWarning is issued. Neither `Client.close` nor the end of a program that has not left the stream sends a
    cancel: the request runs on.
    """

    def __init__(self, request: StreamedRequest) -> None:
        self._request = request
        self._events: AsyncGenerator[ReplyEvent, None] | None = None

    @property
    def id(self) -> str:
        """The id of the request, for `Client.resume` and `Client.cancel`."""
        return self._request.request.id

    def detach(self) -> None:
        """Leave the request running when the stream is left."""
        self._request.cancel_on_exit = False

    def __aiter__(self) -> AsyncIterator[ReplyEvent]:
        if self._events is None:
            self._events = self._request.events()
        return self._events

    async def __aenter__(self) -> Self:
        """Send the request. Raises NotAccepted, RequestTooLarge and ClientClosed."""
        if self._events is None:
            self._request.entered = True
            self._events = self._request.events()
            await anext(self._events)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop reading, as the end of `async with` does. A task that is reading receives the events up to the last."""
        self._request.closing = True
        if self._events is None:
            return
        if self._events.ag_running:  # type: ignore[attr-defined]  # by another task, which alone can close it
            await self._request.cancel()
        else:
            await self._events.aclose()


def _warn_left_open(request_id: str) -> None:
    warnings.warn(
        f"the stream of request {request_id} was left before its last event and closed only when it was collected; "
        "write `async with client.stream(...) as stream: async for event in stream: ...`",
        ResourceWarning,
        stacklevel=2,
    )
