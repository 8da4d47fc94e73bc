"""One HTTP request and its response, over ASGI and the connection below it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, cast

from starlette.types import Receive, Scope, Send

from services.simulator.http.connection import STATE_KEY, Connection
from services.simulator.http.errors import ApiError

__all__ = ["HTML", "JSON", "SSE", "ClientGoneError", "Exchange", "bearer"]

Header = tuple[bytes, bytes]

JSON: Final[Header] = (b"content-type", b"application/json")
SSE: Final[Header] = (b"content-type", b"text/event-stream; charset=utf-8")
HTML: Final[Header] = (b"content-type", b"text/html; charset=utf-8")


class ClientGoneError(Exception):
    """The client hung up; there is nobody to answer."""


class Exchange:
    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        self.connection = cast("Connection", scope["state"][STATE_KEY])
        self.request_id = request_id
        self.status: int | None = None
        """The HTTP status that was sent."""
        self.headers: list[Header] = [(b"x-request-id", request_id.encode())]
        """Sent with whatever answer comes."""
        self._scope = scope
        self._receive = receive
        self._send = send

    @property
    def bearer(self) -> str:
        return bearer(self._scope["headers"])

    @property
    def label(self) -> str:
        """What its sender calls it."""
        return _header(self._scope["headers"], b"x-client-request-id")

    async def body(self) -> bytes:
        body = bytearray()
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            body += message["body"]
            if not message["more_body"]:
                self.connection.listen()
                return bytes(body)

    async def start(self, status: int, content_type: Header, length: int | None = None) -> None:
        """Send the head; without a `length` the body is chunked."""
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
        """Sleep that long, or only let others run; raises ClientGoneError as soon as the client has left."""
        if seconds > 0:
            await self.connection.pause(seconds)
        else:
            await asyncio.sleep(0)
        self._check()

    async def silence(self) -> None:
        """Say nothing until the client leaves."""
        await self.connection.wait_gone()
        raise ClientGoneError

    async def cut(self) -> None:
        """Close the connection with the response unfinished."""
        self.connection.close()
        await self.connection.wait_gone()

    async def reset(self) -> None:
        self.connection.reset()
        await self.connection.wait_gone()

    def _check(self) -> None:
        if self.connection.is_gone:
            raise ClientGoneError


def bearer(headers: Iterable[Header]) -> str:
    """The bearer key of a request, or nothing."""
    return _header(headers, b"authorization").removeprefix("Bearer ")


def _header(headers: Iterable[Header], wanted: bytes) -> str:
    for name, value in headers:
        if name == wanted:
            return value.decode("latin-1")
    return ""
