"""The TCP connection under a request: notices its loss, bounds its headers, and can be aborted."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from penstock.bus.ids import new_id
from penstock.bus.log_limits import rate_limited_logger
from services.edge.dialects.chat import ChatDialect
from services.edge.dialects.dialect import AnswerError
from services.edge.http.errors import HttpError
from services.edge.http.headers import JSON, request_id_headers
from services.edge.http.rejections import log_rejection

__all__ = ["STATE_KEY", "Connection"]

_log: Final = rate_limited_logger(__name__)
STATE_KEY: Final = "connection"
"""Key of a request's Connection in the ASGI scope: `scope["state"][STATE_KEY]`."""


def _encoded(error: HttpError) -> bytes:
    """A response to what has no route, so its error has OpenAI's shape."""
    request_id = new_id()
    log_rejection("a request", "without a route", error.status, error.code, request_id=request_id)
    body = ChatDialect().error(AnswerError(error.code, error.message, error.status))
    head = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}".encode()]
    head += [b"%s: %s" % header for header in (*error.headers, *request_id_headers(request_id))]
    head += [b"content-type: " + JSON, b"content-length: %d" % len(body), b"connection: close"]
    return b"\r\n".join([*head, b"", body])


_NOT_HTTP: Final = HttpError.of("invalid_request", "the request is not valid HTTP/1.1")
_NO_HOST: Final = HttpError.of(
    "invalid_request", "an HTTP/1.1 request must have the header host, and have it once"
)
_HEADERS_TOO_LARGE: Final = HttpError.of(
    "headers_too_large", "the request line and the headers are too large: send fewer or shorter headers"
)
_HEADERS_TOO_SLOW: Final = HttpError.of("request_timeout", "the request line and the headers came too slowly")
_UPGRADE_REFUSED: Final = HttpError.of(
    "upgrade_not_served",
    "an upgrade from HTTP 1.1 to another protocol is not served: send the request without the header upgrade",
)
"""The parser takes all that follows an offer of another protocol for that protocol, a body included."""
_TOO_MANY_CONNECTIONS: Final = HttpError.of(
    "overloaded",
    "this edge has as many connections as its limit of open files allows: try again later",
    retry_after_s=1,
)
_REFUSED_S: Final = 2.0
"""Time for the client to read why its request was refused."""


class Connection(HttpToolsProtocol):
    """uvicorn's protocol, with a callback at its loss, and with limits on the head of a request, which it lacks."""

    header_bytes: int = 64 * 1024
    header_s: float = 30.0
    most_connections: int = sys.maxsize
    """Further ones are answered with an error and closed, so that the process can open other files."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.is_lost = False
        self.on_lost: Callable[[], None] | None = None
        self._head_received: int | None = None
        """Bytes received of an incomplete request head; None between heads."""
        self._timer: asyncio.TimerHandle | None = None
        """Aborts the connection unless the head, or a body that is being discarded, is complete in time."""
        self._without_body = 0
        """Bytes received after a head that were no part of a body: sizes of chunks, and trailers."""
        self._ignores_input = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """A connection without a request is closed after the time of an idle one; uvicorn keeps it for ever."""
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            _log.warning(
                "connections are refused: %d are open, as many as the limit of open files (ulimit -n) allows",
                self.most_connections,
            )
            self._ignores_input = True
            transport.write(_encoded(_TOO_MANY_CONNECTIONS))
            transport.close()
            return
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def data_received(self, data: bytes) -> None:
        if self._ignores_input:
            return
        self._without_body += len(data)
        super().data_received(data)
        if self.transport.is_closing() or self._ignores_input:
            return
        if self._head_received is None:
            if self._without_body > self.header_bytes:
                self.abort()
            return
        self._head_received += len(data)
        if self._head_received > self.header_bytes:
            self._refuse(_HEADERS_TOO_LARGE)
        elif self._timer is None:
            self._timer = self.loop.call_later(self.header_s, self._refuse, _HEADERS_TOO_SLOW)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's text, which says as much
        self.transport.write(_encoded(_NOT_HTTP))
        self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """The refusal has its own line in the log; uvicorn would advise to install a library for WebSockets."""

    def on_message_begin(self) -> None:
        """A request that follows before the response to the one before it is not read: the loss of the connection would
        not be noticed. The connection ends with that response, and the client sends the request again.
        """
        if not getattr(self.cycle, "response_complete", True):
            self._ignores_input = True
            self.cycle.keep_alive = False
            return
        super().on_message_begin()
        self.scope["state"][STATE_KEY] = self
        self._head_received = 0
        self._without_body = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Trailers, which follow the body, are dropped: they do not count as headers (RFC 9110, section 6.5.1)."""
        if self._head_received is not None:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._ignores_input:
            return
        self._end_head()
        if self.parser.should_upgrade():
            self._refuse(_UPGRADE_REFUSED)
            return
        if self.parser.get_http_version() == "1.0":
            self.expect_100_continue = False  # RFC 9110, section 10.1.1
        elif sum(name == b"host" for name, _ in self.headers) != 1:  # RFC 9112, section 3.2
            self._refuse(_NO_HOST)
            return
        # A whole head may come in one read, with which bytes of the body come too, so its own size counts.
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > self.header_bytes:
            self._refuse(_HEADERS_TOO_LARGE)
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._without_body = 0
        if not self._ignores_input:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._ignores_input:
            self._stop_timer()
            super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.is_lost = True
        self._end_head()
        if self.on_lost is not None:
            self.on_lost()

    @property
    def is_backed_up(self) -> bool:
        """The client reads more slowly than the server writes."""
        return self.flow.write_paused

    async def drained(self) -> None:
        """Wait until the client has read most of what was written, or the connection is lost."""
        await self.flow.drain()

    def resume_reading(self) -> None:
        """Resume reading, which uvicorn may have paused during a long body, so that a disconnect is noticed."""
        self.flow.resume_reading()

    def discard_body(self, seconds: float) -> None:
        """Let the client send the rest of a body that was answered already, for so long.

        A client that is still sending when the connection is closed sees a reset instead of the answer.
        """
        if self.cycle.more_body:
            self._abort_after(seconds)

    def begin_stream(self) -> None:
        """The next response has a body of unknown length, which HTTP/1.0 cannot receive in chunks: the end of the
        connection is its end.
        """
        if self.cycle.scope["http_version"] == "1.0":
            self.cycle.chunked_encoding = False
            self.cycle.expected_content_length = sys.maxsize

    def end_stream(self) -> None:
        """The body of that response is complete."""
        if not self.cycle.chunked_encoding:
            self.cycle.expected_content_length = 0

    def abort(self) -> None:
        """Close at once, discarding what is not sent."""
        self.transport.abort()

    def _end_head(self) -> None:
        self._head_received = None
        self._stop_timer()

    def _abort_after(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, error: HttpError) -> None:
        """Answer, and ignore for a moment what the client still sends, for the reason that `discard_body` gives."""
        self._end_head()
        self._ignores_input = True
        if getattr(self.cycle, "response_complete", True):  # else it would follow half of another answer
            self.transport.write(_encoded(error))
            self.transport.write_eof()
        self._abort_after(_REFUSED_S)
