"""One request and its events, from the application's side."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import Final, Self

from msgspec import Struct
from nats.aio.client import Client as Nats

from penstock.bus.clock import loop_now_s
from penstock.bus.trace_names import OPERATION_NAME, REQUEST_ID, ROLE, SPAN_CLIENT
from penstock.bus.tracing import Tracer
from penstock.client.follow import Following, follow
from penstock.client.submit import send, written
from penstock.client.subscription import ReplyInbox
from penstock.contract import subjects
from penstock.contract.codec import encode
from penstock.contract.reply import TERMINAL, Accepted, Failed, ReplyEvent
from penstock.contract.request import CancelRequest, ChatRequest
from penstock.errors import NoReply

__all__ = ["Stream", "cancel"]

_GRACE_S: Final = 10.0
"""How long after the deadline a terminal event may still come."""
_ABANDONED: Final = "abandoned"


async def cancel(nc: Nats, account: str, request_id: str, reason: str) -> None:
    """Publish the cancel event of one request."""
    await nc.publish(subjects.cancel(account, request_id), encode(CancelRequest(reason=reason)))


class _Asking(Struct, eq=False):
    """What the generator of the events needs. It must not know the Stream: a generator in a reference cycle is not
    closed when the loop over it is left, only when the garbage collector comes by.
    """

    nc: Nats
    inbox: ReplyInbox
    request: ChatRequest
    timeout_s: float
    tracer: Tracer
    detached: bool = False

    async def ask_and_follow(self) -> AsyncGenerator[ReplyEvent, None]:
        payload = written(self.request)
        attributes = {OPERATION_NAME: "chat", REQUEST_ID: self.request.id, ROLE: self.request.role}
        span = self.tracer.start(SPAN_CLIENT, "client", attributes=dict(attributes))
        outcome: str | None = _ABANDONED
        try:
            async with self.inbox.feed(self.request.id, self.inbox.name) as feed:
                await send(
                    self.nc,
                    self.inbox.account,
                    self.request,
                    payload,
                    patience_s=self.timeout_s,
                    traceparent=span.traceparent,
                )
                following = self._following()
                async for event in follow(self.nc, feed, following):
                    if isinstance(event, Accepted):
                        following.until_s = _on_loop_clock(event.deadline_ms) + _GRACE_S
                    elif isinstance(event, TERMINAL):
                        outcome = event.error.code if isinstance(event, Failed) else None
                    yield event
            if outcome == _ABANDONED:
                raise NoReply(f"no end of request {self.request.id} came before its deadline")
        finally:
            span.end(error=outcome)
            if outcome == _ABANDONED and not self.detached and not self.nc.is_closed:
                await cancel(self.nc, self.inbox.account, self.request.id, "the application stopped reading")

    def _following(self) -> Following:
        subject = subjects.reply(self.inbox.account, self.inbox.name, self.request.id)
        until_s = loop_now_s() + self.timeout_s + _GRACE_S
        return Following(subject, until_s)


class Stream:
    """Asked when the iteration begins; the last event is terminal.

    Leaving the loop before cancels the request, unless `detach()` was called: at once for a stream without a name
    (`async for event in client.stream(...)`) and at the end of `async with client.stream(...) as stream`.
    """

    def __init__(
        self, nc: Nats, inbox: ReplyInbox, request: ChatRequest, timeout_s: float, tracer: Tracer
    ) -> None:
        self._asking = _Asking(nc, inbox, request, timeout_s, tracer)
        self._events: AsyncGenerator[ReplyEvent, None] | None = None

    @property
    def id(self) -> str:
        return self._asking.request.id

    def detach(self) -> None:
        """Leaving the loop shall not cancel the request; somebody will resume it."""
        self._asking.detached = True

    def __aiter__(self) -> AsyncIterator[ReplyEvent]:
        if self._events is None:
            self._events = self._asking.ask_and_follow()
        return self._events

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop following."""
        if self._events is not None:
            await self._events.aclose()


def _on_loop_clock(unix_ms: int) -> float:
    return loop_now_s() + unix_ms / 1000 - time.time()
