"""Embed requests of accounts, over the connection of the process: one reply subscription for each active account."""

from __future__ import annotations

import asyncio
import re
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec
from msgspec import Raw

from penstock.bus.clock import loop_now_s
from penstock.bus.ids import new_id
from penstock.bus.tracing import Tracer
from penstock.client.embedding import Embeddings, EmbeddingsBuilder
from penstock.client.stream import Stream, StreamedRequest
from penstock.client.subscription import ReplySubscription
from penstock.client.timings import ClientTimings
from penstock.contract.names import EMBED
from penstock.contract.request import EmbedRequest
from penstock.contract.retrieval.embeddings import FLOAT_BYTES
from penstock.errors import NoReply, PenstockError, RequestFailed
from penstock.runtime.service import Bus
from services.indexer.embedding.gateway import Caller, Embedded, EmbeddingFailed, Route

__all__ = ["EmbedRequests"]

_INPUT: Final = re.compile(r"input\[(\d{1,6})\]")
_TIMINGS: Final = ClientTimings()
_ACCEPT_S: Final = 60.0
"""The longest wait for a router."""
_MOST_SUBSCRIPTIONS: Final = 64
"""Reply subscriptions that are kept while no request uses them."""
_LONGEST_S: Final = 300.0
"""The deadline of one request: its texts are sent again after it, while the index request has time."""


class EmbedRequests:
    def __init__(self, bus: Bus, client_name: str, tracer: Tracer) -> None:
        self._bus = bus
        self._client_name = client_name
        self._tracer = tracer
        self._subscriptions: OrderedDict[str, ReplySubscription] = OrderedDict()
        self._used: Counter[str] = Counter()
        self._opening = asyncio.Lock()

    async def embed(self, texts: Sequence[str], route: Route, caller: Caller) -> Embedded:
        """The vectors of the texts, from one embed request of the account. Raises EmbeddingFailed.

        It is interactive also for an index request of the batch lane: its vectors are not the result of a job, and the
        query vectors that searches wait for take the same way.
        """
        left_s = min(_LONGEST_S, caller.until_s - loop_now_s())
        if left_s <= 0:
            raise EmbeddingFailed("deadline_exceeded", "no time is left for the vectors")
        request = EmbedRequest(
            id=new_id(),
            client=self._client_name,
            body=_body(texts, route),
            role=route.role or EMBED,
            model=route.model,
            user=caller.user,
            key=caller.key,
            store=caller.store,
            timeout_s=left_s,
        )
        try:
            found = await self._answer(request, caller, left_s)
        except PenstockError as error:
            raise EmbeddingFailed(error.code, str(error), error.retry_after_s, _refused(error)) from error
        size = found.dimensions * FLOAT_BYTES
        vectors = [found.data[start : start + size] for start in range(0, len(found.data), size)]
        return Embedded(
            vectors,
            found.embedded,
            found.usage.input_tokens,
            found.cost_microusd,
            found.unpriced_attempts,
        )

    async def _answer(self, request: EmbedRequest, caller: Caller, timeout_s: float) -> Embeddings:
        async with self._subscription(caller.account) as subscription:
            return await self._answer_to(request, caller, timeout_s, subscription)

    async def _answer_to(
        self, request: EmbedRequest, caller: Caller, timeout_s: float, subscription: ReplySubscription
    ) -> Embeddings:
        streamed = StreamedRequest(
            nc=self._bus.nc,
            subscription=subscription,
            request=request,
            timeout_s=min(timeout_s, _ACCEPT_S),
            timings=_TIMINGS,
            tracer=self._tracer,
            cancel_on_exit=True,
            parent=caller.traceparent,
        )
        builder = EmbeddingsBuilder()
        async with Stream(streamed) as events:
            async for event in events:
                if (found := builder.add(event)) is not None:
                    return found
        raise NoReply(f"request {request.id} has no terminal event")

    @asynccontextmanager
    async def _subscription(self, account: str) -> AsyncIterator[ReplySubscription]:
        """That of the account, which is not ended while a request uses it."""
        self._used[account] += 1
        try:
            async with self._opening:
                if account not in self._subscriptions:
                    opened = ReplySubscription(
                        self._bus.nc, self._bus.connection_events, account, self._client_name
                    )
                    await opened.open()
                    self._subscriptions[account] = opened
                self._subscriptions.move_to_end(account)
                await self._end_unused()
            yield self._subscriptions[account]
        finally:
            self._used[account] -= 1
            if not self._used[account]:
                del self._used[account]

    async def _end_unused(self) -> None:
        """The latest ones are kept: an account often asks again soon."""
        unused = [account for account in self._subscriptions if account not in self._used]
        for account in unused[: max(0, len(self._subscriptions) - _MOST_SUBSCRIPTIONS)]:
            await self._subscriptions.pop(account).leave()


def _refused(error: PenstockError) -> int | None:
    """The place of the text that the failure names as its field."""
    field = error.failure.param if isinstance(error, RequestFailed) else None
    found = _INPUT.fullmatch(field or "")
    return None if found is None else int(found[1])


def _body(texts: Sequence[str], route: Route) -> Raw:
    body: dict[str, object] = {"input": list(texts)}
    if route.dimensions is not None:
        body["dimensions"] = route.dimensions
    return Raw(msgspec.json.encode(body))
