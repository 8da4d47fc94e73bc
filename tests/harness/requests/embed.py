"""Embed requests put into the mailbox of their role, as a router does, and their replies."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from array import array
from collections.abc import Sequence
from typing import Any

from msgspec import Raw, Struct, field
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from penstock.bus.ids import new_id
from penstock.client.client import Client
from penstock.client.stream import cancel
from penstock.contract import subjects
from penstock.contract.codec import REPLY, encode
from penstock.contract.reply import TERMINAL, Completed, Delta, Failed, ReplyEvent
from penstock.contract.retrieval.embeddings import EmbedResult, VectorBlock
from services.simulator.answers.embeddings import embed
from tests.harness.requests.routed_requests import chat_work

__all__ = ["EmbedReply", "EmbedRequests", "vector_of"]


def vector_of(text: str, dimensions: int = 256) -> list[float]:
    """What the simulator gives, as 32-bit numbers."""
    return array("f", embed(text, dimensions)).tolist()


class EmbedReply(Struct):
    """The events of one request."""

    request_id: str
    ended: asyncio.Future[None]
    events: list[ReplyEvent] = field(default_factory=list)

    @property
    def end(self) -> Completed | Failed:
        end = self.events[-1]
        assert isinstance(end, Completed | Failed), self.events
        return end

    @property
    def failure(self) -> Failed:
        assert isinstance(self.end, Failed), self.end
        return self.end

    @property
    def completed(self) -> Completed:
        assert isinstance(self.end, Completed), self.end
        return self.end

    @property
    def result(self) -> EmbedResult:
        fields: dict[str, Any] = json.loads(bytes(self.completed.response))
        return EmbedResult(**fields)

    @property
    def vectors(self) -> list[list[float]]:
        """Of all texts, from the blocks after the last restart."""
        packed = b""
        dimensions = self.result.dimensions
        for event in self.events:
            if not isinstance(event, Delta):
                packed = b"" if event.seq < self.end.seq else packed
                continue
            for raw in event.choices:
                choice = json.loads(bytes(raw))
                block = VectorBlock(first=choice["first"], vectors=base64.b64decode(choice["vectors"]))
                assert block.first * dimensions * 4 == len(packed)
                packed += block.vectors
        numbers = array("f", packed).tolist()
        return [numbers[at : at + dimensions] for at in range(0, len(numbers), dimensions)]


class EmbedRequests:
    """Sends requests of one account, and collects their replies."""

    def __init__(self, nc: Nats, account: str) -> None:
        self._nc = nc
        self._account = account
        self._client = new_id()
        self._replies: dict[str, EmbedReply] = {}

    @classmethod
    async def started(cls, client: Client, account: str = "a") -> EmbedRequests:
        """Over the connection of `client`."""
        requests = cls(client._nc, account)
        await requests._nc.subscribe(f"llm.reply.{account}.{requests._client}.*", cb=requests._on_event)
        return requests

    async def send(
        self, texts: Sequence[Any] | str, *, role: str = "embed", within_s: float = 30.0, **fields: Any
    ) -> EmbedReply:
        """Store the work; `fields` of the work message, `dimensions` of the body."""
        request_id = fields.pop("id", None) or new_id()
        body = {"input": texts, **{name: fields.pop(name) for name in ("dimensions",) if name in fields}}
        now_ms = int(time.time() * 1000)
        work = chat_work(
            **{
                "id": request_id,
                "account": self._account,
                "client": self._client,
                "role": role,
                "kind": "embed",
                "deadline_ms": now_ms + int(within_s * 1000),
                "accepted_ms": now_ms,
                "body": Raw(json.dumps(body).encode()),
                **fields,
            }
        )
        reply = EmbedReply(request_id, asyncio.get_running_loop().create_future())
        self._replies[request_id] = reply
        flow = subjects.flow(work.account, work.user)
        await self._nc.jetstream().publish(subjects.work(role, work.lane, 0, flow), encode(work))
        return reply

    async def embed(self, texts: Sequence[Any] | str, **options: Any) -> EmbedReply:
        """Send and wait for the end."""
        reply = await self.send(texts, **options)
        await reply.ended
        return reply

    async def cancel(self, reply: EmbedReply) -> None:
        await cancel(self._nc, self._account, reply.request_id, "not needed any more")

    async def _on_event(self, msg: Msg) -> None:
        event = REPLY.decode(msg.data)
        reply = self._replies.get(event.id)
        if reply is None or (reply.events and event.seq <= reply.events[-1].seq):
            return
        reply.events.append(event)
        if isinstance(event, TERMINAL) and not reply.ended.done():
            reply.ended.set_result(None)
