"""A gateway that answers each request by a script, which may violate the contract."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from penstock.bus.connection import ConnectionEvents, connect
from penstock.bus.publish import store
from penstock.client.submit import Request
from penstock.contract import codec, subjects
from penstock.contract.names import LANES
from penstock.contract.reply import ReplyEvent
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure

_DECODERS = {"chat": codec.REQUEST, "embed": codec.EMBED_REQUEST, "index": codec.INDEX_REQUEST}


class Gateway:
    """Subscribes to the requests of one account and runs `script` for each."""

    def __init__(self, url: str, account: str) -> None:
        self._url = url
        self.account = account
        self.requests: list[Request] = []
        self.request_headers: list[dict[str, str]] = []
        self.cancelled: list[str] = []
        self.script: Callable[[Request], Awaitable[None]] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        self.nc = await connect(self._url, name="gateway", events=ConnectionEvents())
        self.js = self.nc.jetstream()
        await ensure(self.js, JetStreamPlan(roles=("chat",), ack_wait_s=10))
        for kind in _DECODERS:
            for lane in LANES:
                await self.nc.subscribe(subjects.request(self.account, kind, lane), cb=self._on_request)
        await self.nc.subscribe(subjects.cancel(self.account, "*"), cb=self._on_cancel)
        await self.nc.flush()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome
        await self.nc.close()

    async def send(self, request: Request, *events: ReplyEvent) -> None:
        """Publish and wait until each event is stored, also across a restart of the server."""
        for event in events:
            subject = subjects.reply(self.account, request.client, request.id)
            payload = codec.encode(event)
            await store(self.js, subject, payload, message_id=f"{subject}.{event.seq}")

    async def _on_request(self, msg) -> None:
        request = _DECODERS[subjects.request_address(msg.subject).kind].decode(msg.data)
        if any(request.id == known.id for known in self.requests):
            return  # published again without an acknowledgement
        self.requests.append(request)
        self.request_headers.append(msg.headers)
        if self.script is not None:
            self._tasks.append(asyncio.create_task(self.script(request)))

    async def _on_cancel(self, msg) -> None:
        self.cancelled.append(msg.subject.rpartition(".")[2])
