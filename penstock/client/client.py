"""The client of an application: send requests, follow, resume and cancel them, and read jobs."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Any, Final, Self

from nats.aio.client import Client as Nats

from penstock.bus.auth import NatsAuth
from penstock.bus.clock import loop_now_s
from penstock.bus.connection import ConnectionEvents, close, connect, warn_of_small_messages
from penstock.bus.ids import new_id
from penstock.bus.trace_names import OPERATION_NAME, REQUEST_ID, ROLE, SPAN_CLIENT
from penstock.bus.tracing import NO_TRACER, Tracer
from penstock.client.arguments import (
    RagOptions,
    check_choice,
    check_servers,
    check_text,
    check_token,
    check_wait,
)
from penstock.client.chat_request import Prompt, chat_request
from penstock.client.follow import Followed, follow, is_at_end
from penstock.client.jobs import JobReader
from penstock.client.lost_request import LostRequestCheck, is_reply_lost
from penstock.client.reply import Reply, ReplyBuilder
from penstock.client.stream import Stream, StreamedRequest, cancel
from penstock.client.submit import encode_request, submit
from penstock.client.subscription import ReplySubscription
from penstock.client.timings import ClientTimings
from penstock.contract import subjects
from penstock.contract.jobs import JOB_STATES, Job, JobState
from penstock.contract.names import AUTO, Complexity, Lane, Rescue
from penstock.contract.reply import TERMINAL, ReplyEvent
from penstock.errors import ClientClosed, NoReply, PenstockError, UnknownReply

__all__ = ["Client"]

_DEFAULT_URL: Final = "nats://127.0.0.1:4222"
_DEFAULT_ACCOUNT: Final = "demo"


class Client:
    """One connection for any number of requests, whose replies all arrive on one subscription.

    Use as `async with await Client.connect(...) as client`, or call `close`.
    """

    def __init__(
        self, nc: Nats, subscription: ReplySubscription, tracer: Tracer, timings: ClientTimings
    ) -> None:
        self._nc = nc
        self._subscription = subscription
        self._tracer = tracer
        self._timings = timings

    @classmethod
    async def connect(
        cls,
        url: str | None = None,
        *,
        account: str | None = None,
        name: str | None = None,
        auth: NatsAuth | None = None,
        tracer: Tracer = NO_TRACER,
    ) -> Self:
        """Connect to the NATS server at `url`, or at NATS_URL, or at nats://127.0.0.1:4222.

        `account` defaults to PENSTOCK_ACCOUNT, or `demo`; `auth` to the credentials in the environment (NATS_CREDS and
        others, see NatsAuth). `name` is the token to which replies are addressed; a process that resumes the streams of
        another one needs to know it. `tracer` is not closed by the client. Raises BrokerUnreachable, its subclass
        BrokerRefused when the server rejects the credentials or the certificate, and ValueError for an address of
        another kind, a name that is not a subject token and a file of `auth` that cannot be used.
        """
        chosen = name or f"client-{new_id()}"
        if account is None:
            account = os.environ.get("PENSTOCK_ACCOUNT") or _DEFAULT_ACCOUNT
        servers = url or os.environ.get("NATS_URL") or _DEFAULT_URL
        check_servers(servers)
        check_token("the name of an account", account)
        check_token("the name of a client", chosen)
        connection_events = ConnectionEvents(servers)
        nc = await connect(
            servers,
            name=chosen,
            events=connection_events,
            auth=auth or NatsAuth.from_env(os.environ),
        )
        warn_of_small_messages(nc, servers)
        subscription = ReplySubscription(nc, connection_events, account, chosen)
        try:
            await subscription.open()
        except BaseException:
            await close(nc)
            raise
        return cls(nc, subscription, tracer, ClientTimings())

    @property
    def name(self) -> str:
        return self._subscription.client_name

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Send the buffered data and disconnect. Running requests continue, and their replies are stored.

        Data that NATS does not receive within two seconds is lost, which is logged. Every later call raises
        ClientClosed.
        """
        self._subscription.close()
        await close(self._nc)

    def _check_open(self) -> None:
        if self._nc.is_closed:
            raise ClientClosed

    async def chat(  # noqa: PLR0913 - the keywords of the envelope, each with a default
        self,
        prompt: Prompt,
        *,
        role: str = AUTO,
        model: str = "",
        user: str = "",
        lane: Lane = "interactive",
        timeout_s: float | None = None,
        degrade: bool = True,
        rescue: Rescue = "restart",
        complexity: Complexity | None = None,
        rag: RagOptions | None = None,
        conversation: str = "",
        **body: Any,
    ) -> Reply:
        """Send a request and wait for the whole reply.

        `prompt` is a text or OpenAI `messages`; further keywords are copied into the OpenAI body, with a warning if
        they look like a misspelled argument. `role` is a role of the catalogue; `model`, in its place, is one of its
        models, and only that one and its own fallbacks may answer. `user` identifies your end user: the requests of one
        do not delay those of another. `degrade=False` forbids Penstock to shorten the request while a model is slow or
        failing. `rescue` says whether another attempt may follow a failed one: `none`, `before_output` (before text was
        sent) or `restart` (also afterwards). `complexity` (`simple`, `medium`, `complex`) chooses the end of the chain;
        None: by the text. `timeout_s` is at most an hour, in the batch lane a day; None: the deadline of the role.
        `rag` puts passages of a collection before the model: its name, or a Rag or its fields. With `conversation`,
        which needs `user`, what is said is remembered, and what fits of earlier conversations is recalled.

        Raises RequestFailed, NotAccepted, RequestTooLarge, NoReply, ReplyIncomplete or ClientClosed, and ValueError for
        an argument that is not valid.
        """
        builder = ReplyBuilder()
        body = {"stream": False, **body}
        async with self.stream(
            prompt,
            role=role,
            model=model,
            user=user,
            lane=lane,
            timeout_s=timeout_s,
            degrade=degrade,
            rescue=rescue,
            complexity=complexity,
            rag=rag,
            conversation=conversation,
            **body,
        ) as events:
            async for event in events:
                reply = builder.add(event)
                if reply is not None:
                    return reply
        raise NoReply(f"request {events.id} has no terminal event: send it again")

    def stream(  # noqa: PLR0913 - the keywords of the envelope, each with a default
        self,
        prompt: Prompt,
        *,
        role: str = AUTO,
        model: str = "",
        user: str = "",
        lane: Lane = "interactive",
        timeout_s: float | None = None,
        degrade: bool = True,
        rescue: Rescue = "restart",
        complexity: Complexity | None = None,
        rag: RagOptions | None = None,
        conversation: str = "",
        cancel_on_exit: bool = True,
        **body: Any,
    ) -> Stream:
        """Send a request and read its reply event by event.

            async with client.stream("Why is the sky blue?") as stream:
                async for event in stream: ...

        `async with` sends the request; without it the iteration does. The last event is `completed` or `failed`.
        Leaving `async with` before it cancels the request, unless `detach()` was called or `cancel_on_exit` is False.
        With `rescue="before_output"` no text is ever taken back: an attempt that breaks after text was sent ends the
        request in `failed`, and `restarted` comes only before the first text, after a worker died. The other arguments,
        and the errors except RequestFailed, are those of `chat`.
        """
        self._check_open()
        request = chat_request(
            self.name,
            prompt,
            {"stream": True, **body},
            timeout_s=timeout_s,
            role=role,
            model=model,
            user=user,
            lane=lane,
            degrade=degrade,
            rescue=rescue,
            complexity=complexity,
            rag=rag,
            conversation=conversation,
        )
        return Stream(
            StreamedRequest(
                self._nc,
                self._subscription,
                request,
                self._timings.accept_s if timeout_s is None else timeout_s,
                self._timings,
                self._tracer,
                cancel_on_exit,
            )
        )

    async def submit(  # noqa: PLR0913 - the keywords of the envelope, each with a default
        self,
        prompt: Prompt,
        *,
        role: str = AUTO,
        model: str = "",
        user: str = "",
        timeout_s: float | None = None,
        degrade: bool = True,
        rescue: Rescue = "restart",
        complexity: Complexity | None = None,
        rag: RagOptions | None = None,
        conversation: str = "",
        **body: Any,
    ) -> str:
        """Submit a job, a request of the batch lane, and return its id once JetStream has stored it.

        Any process uses the id: `job` for the status, `result` for the answer, `cancel` to cancel it. `timeout_s` is
        at most a day; None: the role's `batch_total_s`. Raises NotAccepted, RequestTooLarge, ClientClosed, ValueError.
        """
        self._check_open()
        request = chat_request(
            self.name,
            prompt,
            {"stream": False, **body},
            timeout_s=timeout_s,
            role=role,
            model=model,
            user=user,
            lane="batch",
            degrade=degrade,
            rescue=rescue,
            complexity=complexity,
            rag=rag,
            conversation=conversation,
        )
        encoded = await encode_request(self._nc, request)
        attributes = {OPERATION_NAME: "chat", REQUEST_ID: request.id, ROLE: role}
        span = self._tracer.start(SPAN_CLIENT, "client", attributes=dict(attributes))
        outcome: str | None = None
        try:
            await submit(
                self._nc,
                self._subscription.account,
                encoded,
                timeout_s=self._timings.submit_s,
                traceparent=span.traceparent,
            )
        except BaseException as error:
            outcome = error.code if isinstance(error, PenstockError) else type(error).__name__
            raise
        finally:
            span.end(error=outcome)
        return request.id

    async def job(self, request_id: str) -> Job:
        """The status of a job, whichever client of the account submitted it.

        Raises UnknownJob, StoreUnavailable within seconds while NATS does not answer, ClientClosed, and ValueError for
        an invalid request id.
        """
        self._check_open()
        check_token("the id of a request", request_id)
        return await JobReader(self._nc, self._subscription.account).get(request_id)

    async def jobs(self, *, state: JobState | None = None, user: str | None = None) -> list[Job]:
        """The jobs of the account, or those in `state` and of `user`; the least recently changed first.

        Raises StoreUnavailable and ClientClosed as `job` does, and ValueError for an unknown state.
        """
        self._check_open()
        if state is not None:
            check_choice("state", state, JOB_STATES)
        return await JobReader(self._nc, self._subscription.account).list_all(state, user)

    async def result(self, request_id: str) -> Reply | None:
        """The answer of a job, stored for 48 hours after its end; None while the job has not ended.

        Raises RequestFailed and ResultGone, and as `job` does.
        """
        job = await self.job(request_id)
        return await JobReader(self._nc, self._subscription.account).result(job)

    def resume(
        self, request_id: str, *, after_seq: int = -1, client: str | None = None, timeout_s: float = 900.0
    ) -> AsyncGenerator[ReplyEvent, None]:
        """The events of a reply after `after_seq`: first the stored ones, then the live ones, each once and in order.

        Works from any process while the reply is stored, for 15 minutes. `client` is the name of the client that sent
        the request, if it was another one. Yields nothing when `after_seq` is the end. Leaving the iteration does not
        cancel the request. Raises NoReply when no terminal event came within `timeout_s`, UnknownReply after some
        seconds when none can come, StoreUnavailable when NATS lacks the streams, BeyondTheEnd, ReplyIncomplete,
        ClientClosed, and ValueError at once for an invalid argument.
        """
        self._check_open()
        owner = self.name if client is None else client
        check_token("the name of a client", owner)
        check_token("the id of a request", request_id)
        check_wait(timeout_s, after_seq)
        return self._resume(request_id, owner, after_seq, timeout_s)

    async def _resume(
        self, request_id: str, owner: str, after_seq: int, timeout_s: float
    ) -> AsyncGenerator[ReplyEvent, None]:
        subject = subjects.reply(self._subscription.account, owner, request_id)
        check = LostRequestCheck()

        async def give_up_if_lost() -> None:
            if await is_reply_lost(self._nc, check, subject):
                raise UnknownReply(request_id, owner)

        followed = Followed(
            subject=subject,
            until_s=loop_now_s() + timeout_s,
            timings=self._timings,
            after_seq=after_seq,
            from_store=True,
            on_silence=give_up_if_lost,
        )
        if await is_at_end(self._nc, followed):
            return
        async with self._subscription.feed(request_id, owner) as feed:
            async for event in follow(self._nc, feed, followed):
                yield event
                if isinstance(event, TERMINAL):
                    return
        raise followed.no_end(
            f"request {request_id} had no terminal event within {timeout_s:g} s",
            "Resume it again while it may still run",
        )

    async def cancel(self, request_id: str, reason: str = "") -> None:
        """Stop a request: its provider call at once, or the wait in its mailbox. It then ends in `failed`.

        The cancel is not acknowledged, and is sent later while the connection is lost. Raises NotAccepted when the
        buffer of a lost connection is full, ClientClosed, and ValueError for an invalid request id or reason.
        """
        self._check_open()
        check_token("the id of a request", request_id)
        check_text("reason", reason)
        await cancel(self._nc, self._subscription.account, request_id, reason)
