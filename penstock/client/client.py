"""The client: ask, follow the answer, take the question back, resume where a connection was lost."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Self

import msgspec
from nats.aio.client import Client as Nats

from penstock.bus.auth import NatsAuth
from penstock.bus.clock import loop_now_s
from penstock.bus.connection import Reconnects, close, connect
from penstock.bus.ids import new_id
from penstock.bus.trace_names import OPERATION_NAME, REQUEST_ID, ROLE, SPAN_CLIENT
from penstock.bus.tracing import NO_TRACER, Tracer
from penstock.client.follow import Following, follow, nothing_left
from penstock.client.jobs import Jobs
from penstock.client.lost_request import Absence, is_lost
from penstock.client.reply import Reply, ReplyBuilder
from penstock.client.stream import Stream, cancel
from penstock.client.submit import send, written
from penstock.client.subscription import ReplyInbox
from penstock.contract import subjects
from penstock.contract.jobs import Job, JobState
from penstock.contract.names import AUTO, RESCUES, Lane, Rescue
from penstock.contract.reply import TERMINAL, ReplyEvent
from penstock.contract.request import ChatRequest
from penstock.errors import NoReply, PenstockError, UnknownReply

__all__ = ["Client", "Prompt"]

_DEFAULT_URL: Final = "nats://127.0.0.1:4222"
_DEFAULT_TIMEOUT_S: Final = 120.0
"""How long an acceptance is waited for when no timeout was given; then the role's own deadline counts."""
_SUBMIT_PATIENCE_S: Final = 60.0
"""How long JetStream's acknowledgement is waited for."""

Prompt = str | Iterable[Mapping[str, Any]]


class Client:
    """One connection for any number of requests, all answered on one subscription.

    Use as `async with await Client.connect(...) as client`, or call `close`.
    """

    def __init__(self, nc: Nats, inbox: ReplyInbox, tracer: Tracer) -> None:
        self._nc = nc
        self._inbox = inbox
        self._tracer = tracer

    @classmethod
    async def connect(
        cls,
        url: str | None = None,
        *,
        account: str = "demo",
        name: str | None = None,
        auth: NatsAuth | None = None,
        tracer: Tracer = NO_TRACER,
    ) -> Self:
        """Connect to the NATS server at `url`, or at NATS_URL, or at nats://127.0.0.1:4222.

        `auth` defaults to the credentials in the environment (NATS_CREDS and others, see NatsAuth). `name` is the token
        to which replies are addressed; a process that resumes the streams of another one needs to know it. `tracer` is
        not closed by the client. Raises BrokerUnreachable, its subclass BrokerRefused when the server rejects the
        credentials or the certificate, and ValueError for a name that is not a subject token or for a file of `auth`
        that cannot be used.
        """
        chosen = name or f"client-{new_id()}"
        _check_token("the name of an account", account)
        _check_token("the name of a client", chosen)
        reconnects = Reconnects()
        nc = await connect(
            url or os.environ.get("NATS_URL") or _DEFAULT_URL,
            name=chosen,
            reconnects=reconnects,
            auth=auth or NatsAuth.from_env(os.environ),
        )
        inbox = ReplyInbox(nc, reconnects, account, chosen)
        try:
            await inbox.open()
        except BaseException:
            await close(nc)
            raise
        return cls(nc, inbox, tracer)

    @property
    def name(self) -> str:
        return self._inbox.name

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Send what is buffered and disconnect. Requests under way go on; their replies are stored."""
        self._inbox.close()
        await close(self._nc)

    async def chat(  # noqa: PLR0913 - the keywords of the envelope, each with a default
        self,
        prompt: Prompt,
        *,
        role: str = AUTO,
        user: str = "",
        lane: Lane = "interactive",
        timeout_s: float | None = None,
        degrade: bool = True,
        rescue: Rescue = "restart",
        **body: Any,
    ) -> Reply:
        """Ask and wait for the whole reply.

        `prompt` is a text or OpenAI `messages`; further keywords go into the OpenAI body as they are. With `degrade`
        False nothing of it is shortened while a model is slow or failing. `rescue` says whether a failed attempt may be
        followed by another: `none`, only `before_output`, or also afterwards (`restart`). `timeout_s`: None is the
        role's; an hour at most counts, in the batch lane a day. Raises RequestFailed, NotAccepted, RequestTooLarge or
        NoReply, and ValueError for a `timeout_s` of no time or an unknown `rescue`.
        """
        builder = ReplyBuilder()
        asked = {"stream": False, **body}
        async with self.stream(
            prompt,
            role=role,
            user=user,
            lane=lane,
            timeout_s=timeout_s,
            degrade=degrade,
            rescue=rescue,
            **asked,
        ) as events:
            async for event in events:
                reply = builder.add(event)
                if reply is not None:
                    return reply
        raise NoReply(f"no end of request {events.id} came")

    def stream(  # noqa: PLR0913 - the keywords of the envelope, each with a default
        self,
        prompt: Prompt,
        *,
        role: str = AUTO,
        user: str = "",
        lane: Lane = "interactive",
        timeout_s: float | None = None,
        degrade: bool = True,
        rescue: Rescue = "restart",
        **body: Any,
    ) -> Stream:
        """Ask and follow the reply event by event: `async for event in client.stream(...)`.

        The last event is `completed` or `failed`. Leaving the loop before it cancels the request, unless
        `detach()` was called. With `rescue="before_output"` no text has to be taken back: an attempt that breaks after
        text was sent ends the request in `failed`. `restarted` comes before the first text only, where a worker died.
        Raises ValueError as `chat` does.
        """
        asked = {"stream": True, **body}
        request = self._request(
            prompt, asked, timeout_s, role=role, user=user, lane=lane, degrade=degrade, rescue=rescue
        )
        return Stream(
            self._nc,
            self._inbox,
            request,
            _DEFAULT_TIMEOUT_S if timeout_s is None else timeout_s,
            self._tracer,
        )

    async def submit(
        self,
        prompt: Prompt,
        *,
        role: str = AUTO,
        user: str = "",
        timeout_s: float | None = None,
        degrade: bool = True,
        rescue: Rescue = "restart",
        **body: Any,
    ) -> str:
        """Leave a request of the batch lane, and return its id as soon as JetStream has it.

        Any process asks for it by this id: `job` for its status, `result` for its answer, `cancel` to take it back.
        `timeout_s`: up to a day; None: the role's `batch_total_s`. Raises NotAccepted and RequestTooLarge.
        """
        asked = {"stream": False, **body}
        request = self._request(
            prompt, asked, timeout_s, role=role, user=user, lane="batch", degrade=degrade, rescue=rescue
        )
        payload = written(request)
        attributes = {OPERATION_NAME: "chat", REQUEST_ID: request.id, ROLE: role}
        span = self._tracer.start(SPAN_CLIENT, "client", attributes=dict(attributes))
        outcome: str | None = None
        try:
            await send(
                self._nc,
                self._inbox.account,
                request,
                payload,
                patience_s=_SUBMIT_PATIENCE_S,
                traceparent=span.traceparent,
            )
        except BaseException as error:
            outcome = error.code if isinstance(error, PenstockError) else type(error).__name__
            raise
        finally:
            span.end(error=outcome)
        return request.id

    async def job(self, request_id: str) -> Job:
        """The status of a request of the batch lane, whoever of the account asked for it. Raises UnknownJob, and
        ValueError for what is no id of a request.
        """
        _check_token("the id of a request", request_id)
        return await Jobs(self._nc, self._inbox.account).one(request_id)

    async def jobs(self, *, state: JobState | None = None, user: str | None = None) -> list[Job]:
        """All jobs of the account, or those in `state` and of `user`; the oldest change first."""
        return [
            job
            for job in await Jobs(self._nc, self._inbox.account).every()
            if state in {None, job.state} and user in {None, job.user}
        ]

    async def result(self, request_id: str) -> Reply | None:
        """What a job answered, for a day after its end at least; None while it has not ended.

        Raises RequestFailed, UnknownJob and ResultGone, and ValueError for what is no id of a request.
        """
        job = await self.job(request_id)
        return await Jobs(self._nc, self._inbox.account).result(job)

    def _request(
        self,
        prompt: Prompt,
        asked: Mapping[str, Any],
        timeout_s: float | None,
        *,
        rescue: Rescue,
        **envelope: Any,
    ) -> ChatRequest:
        if timeout_s is not None and not timeout_s > 0:
            raise ValueError(f"timeout_s is {timeout_s:g}: it is in seconds, above 0")
        if rescue not in RESCUES:
            raise ValueError(f"rescue is {rescue!r}: it is one of {', '.join(RESCUES)}")
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        return ChatRequest(
            id=new_id(),
            client=self.name,
            body=msgspec.Raw(msgspec.json.encode({"messages": messages, **asked})),
            deadline_ms=None if timeout_s is None else int((time.time() + timeout_s) * 1000),
            rescue=rescue,
            **envelope,
        )

    def resume(
        self, request_id: str, *, after_seq: int = -1, client: str | None = None, timeout_s: float = 900.0
    ) -> AsyncGenerator[ReplyEvent, None]:
        """The events of a reply above `after_seq`: the stored ones, then the live ones, each once, in order.

        Works from any process for 15 minutes; `client` names the client that asked, if it was another. Nothing, when
        `after_seq` is the end. Raises NoReply when no terminal event came within `timeout_s`, UnknownReply after some
        seconds when none can come, BeyondTheEnd, and ValueError at once for what is no id of a request or no name of a
        client.
        """
        owner = self.name if client is None else client
        _check_token("the name of a client", owner)
        _check_token("the id of a request", request_id)
        return self._resume(request_id, owner, after_seq, timeout_s)

    async def _resume(
        self, request_id: str, owner: str, after_seq: int, timeout_s: float
    ) -> AsyncGenerator[ReplyEvent, None]:
        subject = subjects.reply(self._inbox.account, owner, request_id)
        absence = Absence()

        async def give_up_if_lost() -> None:
            if await is_lost(self._nc, absence, subject):
                raise UnknownReply(request_id, owner)

        following = Following(
            subject=subject,
            until_s=loop_now_s() + timeout_s,
            after_seq=after_seq,
            from_store=True,
            on_silence=give_up_if_lost,
        )
        if await nothing_left(self._nc, subject, after_seq):
            return
        async with self._inbox.feed(request_id, owner) as feed:
            async for event in follow(self._nc, feed, following):
                yield event
                if isinstance(event, TERMINAL):
                    return
        raise NoReply(f"no end of request {request_id} within {timeout_s:g} s")

    async def cancel(self, request_id: str, reason: str = "") -> None:
        """Stop a request: its provider call at once, or its turn in the queue. It then ends in `failed`.

        Raises ValueError for what is no id of a request.
        """
        _check_token("the id of a request", request_id)
        await cancel(self._nc, self._inbox.account, request_id, reason)


def _check_token(what: str, text: str) -> None:
    """A wildcard would reach the requests of others."""
    if not subjects.is_token(text):
        raise ValueError(f"{text!r} is not {what}: that is 1 to 64 of A-Z a-z 0-9 _ -")
