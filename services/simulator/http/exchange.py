"""One HTTP request and its response, over ASGI and the TCP connection."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, cast

from starlette.types import Receive, Scope, Send

from services.simulator.http.connection import STATE_KEY, Connection
from services.simulator.http.errors import ApiError

__all__ = ["HTML", "JSON", "SSE", "ClientDisconnectedError", "Exchange", "bearer_key"]

Header = tuple[bytes, bytes]

JSON: Final[Header] = (b"content-type", b"application/json")
SSE: Final[Header] = (b"content-type", b"text/event-stream; charset=utf-8")
HTML: Final[Header] = (b"content-type", b"text/html; charset=utf-8")


class ClientDisconnectedError(Exception):
    """The client closed the connection, so the request needs no answer."""


class Exchange:
    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        self.connection = cast("Connection", scope["state"][STATE_KEY])
        self.request_id = request_id
        self.status: int | None = None
        """The HTTP status sent to the client; None before the response starts."""
        self.headers: list[Header] = [(b"x-request-id", request_id.encode())]
        """Headers of the response, errors included."""
        self._scope = scope
        self._receive = receive
        self._send = send

    @property
    def bearer_key(self) -> str:
        return bearer_key(self._scope["headers"])

    @property
    def label(self) -> str:
        """The client's own id of the request."""
        return _header(self._scope["headers"], b"x-client-request-id")

    async def body(self) -> bytes:
        body = bytearray()
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnectedError
            body += message["body"]
            if not message["more_body"]:
                self.connection.resume_reading()
                return bytes(body)

    async def start(self, status: int, content_type: Header, length: int | None = None) -> None:
        """Send the response head; without a `length` the body is chunked."""
        headers = [*self.headers, content_type]
        if length is not None:
            headers.append((b"content-length", b"%d" % length))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        self.status = status
        self._check()

    async def write(self, body: bytes, *, more: bool = True) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})
        if more:
            self._check()

    async def reply(self, status: int, body: bytes, content_type: Header = JSON) -> None:
        await self.start(status, content_type, len(body))
        await self.write(body, more=False)

    async def reply_error(self, error: ApiError) -> None:
        self.headers += error.headers
        await self.reply(error.status, error.body())

    async def pause(self, seconds: float) -> None:
        """Sleep, or yield once if `seconds` is 0; raises ClientDisconnectedError as soon as the client disconnects."""
        if seconds > 0:
            await self.connection.pause(seconds)
        else:
            await asyncio.sleep(0)
        self._check()

    async def silence(self) -> None:
        """Send nothing until the client disconnects."""
        await self.connection.wait_lost()
        raise ClientDisconnectedError

    async def cut(self) -> None:
        """Close the connection with the response unfinished."""
        self.connection.close()
        await self.connection.wait_lost()

    async def reset(self) -> None:
        self.connection.reset()
        await self.connection.wait_lost()

    def _check(self) -> None:
        if self.connection.is_lost:
            raise ClientDisconnectedError


def bearer_key(headers: Iterable[Header]) -> str:
    """The bearer key of a request; empty if it has none."""
    return _header(headers, b"authorization").removeprefix("Bearer ")


def _header(headers: Iterable[Header], wanted: bytes) -> str:
    for name, value in headers:
        if name == wanted:
            return value.decode("latin-1")
    return ""
