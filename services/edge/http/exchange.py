"""One HTTP request and its response over raw ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final, cast
from urllib.parse import parse_qsl

from msgspec import Struct
from starlette.types import Receive, Scope, Send

from penstock.bus.clock import Clock
from penstock.bus.freezes import AwakeTimeout
from penstock.bus.ids import new_id
from penstock.runtime.byte_budget import ByteBudget
from services.edge.http.connection import STATE_KEY, Connection
from services.edge.http.errors import ClientDisconnected, HttpError, ShuttingDown
from services.edge.http.headers import EVENT_STREAM, JSON, REQUEST_ID, Header, request_id_headers

__all__ = ["Exchange", "HttpLimits"]

_STREAM_HEADERS: Final[tuple[Header, ...]] = (
    (b"content-type", EVENT_STREAM),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx buffers the responses of upstream servers by default
)
_NO_CONTENT: Final = 204
_SMALL_BODY_BYTES: Final = 8 * 1024 * 1024
"""Bodies up to this size are bounded by the number of requests of a key only."""
_STEP_BYTES: Final = 1024 * 1024
"""Memory for a larger body is taken in such steps, as it arrives."""
_GZIP: Final = b"\x1f\x8b"
"""How such data begins (RFC 1952)."""
_CLOSE: Final[Header] = (b"connection", b"close")


class HttpLimits(Struct, frozen=True, kw_only=True):
    """What one client may use."""

    body_bytes: int
    body_s: float
    """To receive the whole body."""
    write_s: float
    """Without the client reading anything, after which its connection is closed."""
    memory: ByteBudget
    """For the larger bodies of all requests."""


class Exchange:
    """The response is either `respond`, or `start_stream`, `write`, `end`."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: HttpLimits, clock: Clock) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.parameters: dict[str, str] = {}
        """The variable parts of the path, by their names in the route."""
        self.status: int | None = None
        """The status that was sent; None before."""
        self.streaming_since_s: float | None = None
        """When the status of a streamed response was sent, on the monotonic clock."""
        self.is_broken = False
        """A streamed response ended with an error."""
        self.headers: list[Header] = []
        """Further headers of the response."""
        self.sender = ""
        """The account, or the prefix of the API key, as far as it is known."""
        self.memory_owner: str = (scope.get("client") or ("",))[0]
        """Whose share of the memory a large body takes: of the address, or of the API key once it is known."""
        self._memory_bytes = 0
        self._id = new_id()
        self._connection = cast("Connection", scope["state"][STATE_KEY])
        self._limits = limits
        self._clock = clock
        self._scope = scope
        self._receive = receive
        self._send = send
        self._end_block: Callable[[Exception], None] | None = None
        """Ends the interruptible block; None outside of it."""
        self._is_interrupted = False
        self._at_end: list[Callable[[], None]] = []

    @property
    def request_id(self) -> str:
        """That of the response: of the request on the bus once there is one."""
        found = next((value for name, value in self.headers if name == REQUEST_ID), None)
        return self._id if found is None else found.decode()

    def _identified(self, headers: list[Header]) -> list[Header]:
        if any(name == REQUEST_ID for name, _ in headers):
            return headers
        return [*headers, *request_id_headers(self._id)]

    @property
    def request_headers(self) -> list[Header]:
        """Names in lower case."""
        return cast("list[Header]", self._scope["headers"])

    def header(self, name: bytes) -> str:
        """The first value of a request header; empty if there is none."""
        for each, value in self.request_headers:
            if each == name:
                return value.decode("latin-1").strip()
        return ""

    @property
    def query_string(self) -> str:
        return cast("bytes", self._scope["query_string"]).decode("latin-1")

    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.query_string, keep_blank_values=True))

    async def body(self) -> bytes:
        """The whole body, which is JSON. Raises HttpError (408, 413, 415, 429) and ClientDisconnected."""
        if self.header(b"content-type").partition(";")[0].strip().lower() != JSON.decode():
            # A page of any origin may send other types without asking, and thus use an edge on the user's machine.
            message = "the body must be JSON, with the header content-type: application/json"
            raise HttpError.of("unsupported_media_type", message)
        if self.header(b"content-encoding").lower() not in {"", "identity"}:
            message = "the body must not be compressed: send it without the header content-encoding"
            raise HttpError.of("unsupported_media_type", message)
        if self.header(b"transfer-encoding").lower() not in {"", "chunked"}:
            message = "the header transfer-encoding must be chunked, without another encoding"
            raise HttpError.of("unsupported_media_type", message)
        declared = self.header(b"content-length")
        if declared.isdecimal() and int(declared) > self._limits.body_bytes:
            raise self._too_large()
        try:
            async with AwakeTimeout(self._limits.body_s):
                body = await self._read_body()
        except TimeoutError:
            message = f"the body did not arrive within {self._limits.body_s:g} s"
            raise HttpError.of("request_timeout", message, headers=(_CLOSE,)) from None
        if not body:
            raise HttpError.of("invalid_request", "the body is empty: send a JSON object")
        if body.startswith(_GZIP):
            message = "the body is compressed with gzip: send it uncompressed"
            raise HttpError.of("unsupported_media_type", message)
        return body

    async def _read_body(self) -> bytes:
        body = bytearray()
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            body += message["body"]
            if len(body) > self._limits.body_bytes:
                raise self._too_large()
            if len(body) > max(_SMALL_BODY_BYTES, self._memory_bytes):
                self._take_memory(-(-len(body) // _STEP_BYTES) * _STEP_BYTES)
            if not message["more_body"]:
                self._connection.resume_reading()
                return bytes(body)

    def _take_memory(self, size: int) -> None:
        """Count `size` bytes of a large body until the end of the request. Raises HttpError (429)."""
        memory, owner = self._limits.memory, self.memory_owner
        if not memory.try_hold(size - self._memory_bytes, owner):
            message = (
                "the bodies of other requests need the memory of this gateway process: send the request again"
            )
            raise HttpError.of("overloaded", message, retry_after_s=1)
        if not self._memory_bytes:
            self.on_end(lambda: memory.release(self._memory_bytes, owner))
        self._memory_bytes = size

    def _too_large(self) -> HttpError:
        message = f"the body has more than {self._limits.body_bytes:,} bytes, which is the limit"
        if self.header(b"expect"):
            # The client does not send the body, and its next request would be taken for it.
            return HttpError.of("request_too_large", message, headers=(_CLOSE,))
        return HttpError.of("request_too_large", message)

    async def respond(
        self, status: int, body: bytes, *, content_type: bytes = JSON, headers: tuple[Header, ...] = ()
    ) -> None:
        self.status = status
        sent = self._identified([*self.headers, *headers])
        if status != _NO_CONTENT:
            sent += [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
        await self._send({"type": "http.response.start", "status": status, "headers": sent})
        await self._send({"type": "http.response.body", "body": body, "more_body": False})
        self._connection.discard_body(self._limits.body_s)  # a no-op once the body was read
        await self._drain()

    async def respond_in_parts(self, parts: Iterable[bytes], *, content_type: bytes = JSON) -> None:
        """Status 200 with a body of unknown length. Each part is made once the client has read most of those before,
        and other requests are served in between. Raises ClientDisconnected.
        """
        self.status = 200
        sent = self._identified([(b"content-type", content_type), *self.headers])
        self._connection.begin_stream()
        await self._send({"type": "http.response.start", "status": 200, "headers": sent})
        for part in parts:
            await self.write(part)
            await asyncio.sleep(0)
        await self.end()

    async def start_stream(self, headers: tuple[Header, ...] = ()) -> None:
        self.status = 200
        self.streaming_since_s = self._clock.monotonic_s()
        sent = self._identified([*_STREAM_HEADERS, *self.headers, *headers])
        self._connection.begin_stream()
        await self._send({"type": "http.response.start", "status": 200, "headers": sent})

    async def write(self, data: bytes, *, more: bool = True) -> None:
        """Raises ClientDisconnected, also after the client has read nothing for some time."""
        await self._drain()
        if self._connection.is_lost:
            raise ClientDisconnected
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def _drain(self) -> None:
        """Wait for a client that reads more slowly than the server writes."""
        if not self._connection.is_backed_up:
            return
        try:
            async with AwakeTimeout(self._limits.write_s):
                await self._connection.drained()
        except TimeoutError:
            self._connection.abort()
            raise ClientDisconnected from None

    def abort(self) -> None:
        """Close the connection without the end of the response."""
        self._connection.abort()

    async def end(self) -> None:
        self._connection.end_stream()
        await self.write(b"", more=False)

    def on_end(self, callback: Callable[[], None]) -> None:
        """Call `callback` once the response was sent, or the request failed."""
        self._at_end.append(callback)

    def finish(self) -> None:
        """The request has ended, in whatever way."""
        for callback in self._at_end:
            callback()

    @asynccontextmanager
    async def interruptible(self, before_shutdown: Callable[[], None] | None = None) -> AsyncIterator[None]:
        """The block ends early with ClientDisconnected when the connection is lost, with ShuttingDown, or with the
        error of `interrupt_with`.

        `before_shutdown` is called before ShuttingDown.
        """
        if self._is_interrupted:
            raise ShuttingDown
        if self._connection.is_lost:
            raise ClientDisconnected
        reasons: list[Exception] = []
        try:
            async with asyncio.timeout(None) as limit:

                def end(reason: Exception) -> None:
                    if isinstance(reason, ShuttingDown) and before_shutdown is not None:
                        before_shutdown()
                    if not reasons:
                        reasons.append(reason)
                        limit.reschedule(asyncio.get_running_loop().time())

                self._connection.on_lost = lambda: end(ClientDisconnected())
                self._end_block = end
                try:
                    yield
                finally:
                    self._connection.on_lost = self._end_block = None
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise reasons[0] from error

    def interrupt(self) -> None:
        """This process stops: end the interruptible block, or the next one, with ShuttingDown."""
        self._is_interrupted = True
        self.interrupt_with(ShuttingDown())

    def interrupt_with(self, error: Exception) -> None:
        """End the interruptible block with `error`; nothing happens outside of one."""
        if self._end_block is not None:
            self._end_block(error)
