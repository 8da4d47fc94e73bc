"""A plain HTTP client of the edge, which shows what SDKs hide: statuses, headers, event ids and comments."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any

import aiohttp
from msgspec import Struct

__all__ = [
    "ReceivedEvent",
    "ReceivedStream",
    "Response",
    "chat_body",
    "open_stream",
    "read_stream",
    "request",
    "text_of",
]


_JSON = {"content-type": "application/json"}


class Response(Struct):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = self.json["error"]
        return error


class ReceivedEvent(Struct, frozen=True):
    id: str
    event: str
    data: str

    @property
    def number(self) -> int:
        return int(self.id.partition("-")[0])

    @property
    def json(self) -> Any:
        return json.loads(self.data)


class ReceivedStream(Struct):
    """A response whose events are read while they come."""

    status: int
    headers: dict[str, str]
    response: aiohttp.ClientResponse
    comments: list[tuple[float, str]] = []
    """Each with the time at which it came, in monotonic seconds."""
    ended: bool = False
    """The response came to its proper end."""

    async def events(self) -> AsyncIterator[ReceivedEvent]:
        fields: dict[str, str] = {}
        async for raw in self.response.content:
            line = raw.decode().rstrip("\n")
            if line.startswith(":"):
                self.comments.append((time.monotonic(), line.removeprefix(": ")))
            elif line:
                name, _, value = line.partition(": ")
                assert name not in fields, f"{name} came twice in one event"
                fields[name] = value
            elif fields:
                yield ReceivedEvent(fields.get("id", ""), fields.get("event", ""), fields["data"])
                fields = {}
        self.ended = True


def chat_body(prompt: str, model: str = "coding", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": prompt}], **fields}


async def request(
    method: str,
    url: str,
    body: object = None,
    *,
    data: bytes | None = None,
    headers: dict[str, str] | None = None,
    timeout_s: float = 60.0,
) -> Response:
    """`body` is sent as JSON, `data` as it is. Raises TimeoutError, having closed the connection."""
    given = {**_JSON, **(headers or {})}
    async with (
        asyncio.timeout(timeout_s),
        aiohttp.ClientSession() as session,
        session.request(
            method, url, data=_json(body) if data is None else BytesIO(data), headers=given
        ) as answer,
    ):
        return Response(answer.status, _headers(answer), await answer.read())


@asynccontextmanager
async def open_stream(
    method: str, url: str, body: object = None, *, headers: dict[str, str] | None = None
) -> AsyncIterator[ReceivedStream]:
    """Leaving the block closes the connection."""
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, data=_json(body), headers={**_JSON, **(headers or {})}) as answer,
    ):
        yield ReceivedStream(answer.status, _headers(answer), answer)


async def read_stream(
    method: str, url: str, body: object = None, *, headers: dict[str, str] | None = None
) -> list[ReceivedEvent]:
    async with open_stream(method, url, body, headers=headers) as stream:
        assert stream.status == 200, await stream.response.text()
        return [event async for event in stream.events()]


def text_of(events: list[ReceivedEvent]) -> str:
    """The text of choice 0 in the chunks of a chat completion, whatever else comes between."""
    text = ""
    for event in events:
        if event.data != "[DONE]" and not event.event and "choices" in event.json:
            for choice in event.json["choices"]:
                text += choice["delta"].get("content") or ""
    return text


def _json(body: object) -> BytesIO | None:
    return None if body is None else BytesIO(json.dumps(body).encode())


def _headers(answer: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.headers.items()}
