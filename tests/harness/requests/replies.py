"""Requests as an application sends them, and every event of their replies."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import nats
from msgspec import Struct
from nats.aio.client import Client as Nats

from penstock.bus.ids import new_id
from penstock.bus.stored_replies import stored_replies
from penstock.client.chat_request import Prompt
from penstock.client.client import Client
from penstock.contract import headers, subjects
from penstock.contract.errors import ErrorCode
from penstock.contract.reply import (
    NO_RESPONSE,
    TERMINAL,
    Completed,
    Delta,
    Failed,
    ReplyEvent,
    Restarted,
    Started,
)
from penstock.contract.streams import WORK
from tests.harness.processes.system import System
from tests.harness.suite.waiting import WAIT_TIMEOUT_S, until

__all__ = ["RawPublisher", "ReceivedReply", "ask", "queue_is_empty", "simulator_answer", "text_of"]


def text_of(events: list[ReplyEvent]) -> str:
    """The text as a reader assembles it by the rules of penstock/contract/reply.py."""
    texts: list[str] = []
    for event in events:
        if isinstance(event, Restarted):
            texts.clear()
        elif isinstance(event, Delta):
            texts.append(event.text)
        elif isinstance(event, Completed) and event.response != NO_RESPONSE:
            whole = msgspec.json.decode(event.response)
            texts.append(whole["choices"][0]["message"]["content"] or "")
    return "".join(texts)


class ReceivedReply(Struct):
    """The events of one reply in the order in which the client returned them."""

    id: str
    events: list[ReplyEvent]
    took_s: float

    @property
    def end(self) -> ReplyEvent:
        return self.events[-1]

    @property
    def completed(self) -> Completed:
        assert isinstance(self.end, Completed), self.end
        return self.end

    @property
    def failed(self) -> Failed:
        assert isinstance(self.end, Failed), self.end
        return self.end

    @property
    def code(self) -> ErrorCode | None:
        return self.end.error.code if isinstance(self.end, Failed) else None

    @property
    def restarts(self) -> list[Restarted]:
        return [event for event in self.events if isinstance(event, Restarted)]

    @property
    def models(self) -> list[str]:
        """The model of each attempt, in order."""
        return [event.model for event in self.events if isinstance(event, Started)]

    @property
    def text(self) -> str:
        return text_of(self.events)

    @property
    def choices(self) -> list[dict[str, Any]]:
        """The chunk choices of a stream that are more than plain text."""
        return [
            msgspec.json.decode(raw)
            for event in self.events
            if isinstance(event, Delta)
            for raw in event.choices
        ]

    @property
    def response(self) -> dict[str, Any]:
        return msgspec.json.decode(self.completed.response, type=dict[str, Any])


async def ask(client: Client, prompt: Prompt, *, role: str, **options: Any) -> ReceivedReply:
    """Send a request, read its reply to the end, and check the rules that every reply keeps."""
    began_s = time.monotonic()
    stream = client.stream(prompt, role=role, **options)
    events = [event async for event in stream]
    received = ReceivedReply(stream.id, events, time.monotonic() - began_s)
    assert [event for event in events if isinstance(event, TERMINAL)] == events[-1:]
    assert [event.seq for event in events] == sorted({event.seq for event in events})
    _check_never_spliced(events)
    return received


def _check_never_spliced(events: list[ReplyEvent]) -> None:
    """D6: a `restarted` event separates the text of two attempts."""
    sent_in = 0
    for event in events:
        if isinstance(event, Restarted):
            sent_in = 0
        elif isinstance(event, Delta):
            assert sent_in in {0, event.attempt}, "text of two attempts in one answer"
            sent_in = event.attempt


async def simulator_answer(system: System, model: str, prompt: str) -> str:
    """The simulator's answer, called directly: it depends on the model's base name and the messages alone."""
    url = f"{system.simulator.ready['url']}/v1/chat/completions"
    body = {"model": f"{model}--healthy", "messages": [{"role": "user", "content": prompt}]}
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as answer:
        text: str = (await answer.json())["choices"][0]["message"]["content"]
        return text


class RawPublisher:
    """A plain NATS connection: publishes what the client does not, and reads all reply events of an account."""

    def __init__(self, nc: Nats) -> None:
        self.nc = nc
        self.js = nc.jetstream()

    @classmethod
    async def opened(cls, system: System) -> AsyncIterator[RawPublisher]:
        nc = await nats.connect(system.nats.url)
        try:
            yield cls(nc)
        finally:
            await nc.close()

    async def request(
        self, payload: bytes, *, client: str | None = "publisher", account: str = "demo", kind: str = "chat"
    ) -> str:
        """Publish a request event unchanged; returns the id in its headers, which an event that can be read has not:
        it may be sent twice.
        """
        request_id = new_id()
        extra = {} if _is_readable(payload) else {headers.MESSAGE_ID: request_id}
        if client is not None:
            extra[headers.CLIENT] = client
        await self.js.publish(subjects.request(account, kind), payload, headers=extra)
        return request_id

    async def stored(
        self, request_id: str, *, client: str = "publisher", account: str = "demo"
    ) -> list[ReplyEvent]:
        return await stored_replies(self.nc, subjects.reply(account, client, request_id))

    async def end(
        self, request_id: str, *, client: str = "publisher", timeout_s: float = WAIT_TIMEOUT_S
    ) -> ReplyEvent:
        """The one terminal event of a request."""

        async def ended() -> bool:
            return any(isinstance(event, TERMINAL) for event in await self.stored(request_id, client=client))

        await until(ended, timeout_s)
        terminal = [
            event for event in await self.stored(request_id, client=client) if isinstance(event, TERMINAL)
        ]
        assert len(terminal) == 1
        return terminal[0]


def _is_readable(payload: bytes) -> bool:
    try:
        return bool(msgspec.json.decode(payload, type=dict[str, Any]).get("id"))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


async def queue_is_empty(publisher: RawPublisher) -> bool:
    """Whether no work waits or runs for any role."""
    return (await publisher.js.stream_info(WORK.name)).state.messages == 0
