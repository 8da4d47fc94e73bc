"""The client of an application: send requests, follow, resume and cancel them, and read jobs."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, Final, Self

from penstock.bus.auth import NatsAuth
from penstock.bus.connection import ConnectionEvents, close, connect, warn_of_small_messages
from penstock.bus.ids import new_id
from penstock.bus.tracing import NO_TRACER, Tracer
from penstock.client.arguments import RagOptions, check_servers, check_token
from penstock.client.chat_request import Prompt, chat_request
from penstock.client.embedding import EmbeddingMethods
from penstock.client.job_methods import JobMethods
from penstock.client.reply import Reply, ReplyBuilder
from penstock.client.retrieval import RetrievalMethods
from penstock.client.stream import Stream
from penstock.client.subscription import ReplySubscription
from penstock.client.timings import ClientTimings
from penstock.contract.names import AUTO, Complexity, Lane, Rescue
from penstock.errors import NoReply

__all__ = ["Client"]

_DEFAULT_URL: Final = "nats://127.0.0.1:4222"
_DEFAULT_ACCOUNT: Final = "demo"


class Client(JobMethods, EmbeddingMethods, RetrievalMethods):
    """One connection for any number of requests, whose replies all arrive on one subscription.

    Use as `async with await Client.connect(...) as client`, or call `close`.
    """

    def __new__(cls, *parts: object) -> Self:
        """Called by `connect` only. Raises TypeError without a connection."""
        if len(parts) <= 1:
            raise TypeError("a client is made by `await Client.connect(...)`, not by `Client(...)`")
        return super().__new__(cls)

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
        self._check_open()
        body = {"stream": False, **body}
        request = chat_request(
            self.name,
            prompt,
            body,
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
        streamed = self._streamed(request, timeout_s, cancel_on_exit=True)
        builder = ReplyBuilder()
        if body["stream"]:
            async with Stream(streamed) as events:
                async for event in events:
                    if (reply := builder.add(event)) is not None:
                        return reply
        else:
            for event in await streamed.whole():
                if (reply := builder.add(event)) is not None:
                    return reply
        raise NoReply(f"request {request.id} has no terminal event: send it again")

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
        return self._stream(request, timeout_s, cancel_on_exit=cancel_on_exit)

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
        return await self._submit(request)
