"""An HTTP provider without manners: it sends whatever bytes a test wants, without end if so wished."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from threading import Thread
from typing import Any

__all__ = ["DONE", "Behaviour", "HostileProvider", "chunk", "head", "hostile_provider", "whole"]

Behaviour = Callable[[dict[str, Any]], Iterable[bytes]]
"""From the request's body to everything that goes over the wire, status line included; then the connection closes."""

DONE = b"data: [DONE]\n\n"


def head(status: str = "200 OK", content_type: str = "text/event-stream", *more: str) -> bytes:
    lines = (f"HTTP/1.1 {status}", f"Content-Type: {content_type}", "Connection: close", *more)
    return "\r\n".join((*lines, "", "")).encode()


def chunk(text: str | None = None, finish_reason: str | None = None, **top: object) -> bytes:
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish_reason}
    return b"data: " + json.dumps({"id": "c", "model": "m", "choices": [choice], **top}).encode() + b"\n\n"


def whole(content: object) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return json.dumps({"id": "c", "model": "m", "choices": [choice]}).encode()


class HostileProvider:
    """Lists its models, and answers every chat completion with the behaviour of the model that is asked for."""

    def __init__(self, *models: str) -> None:
        self.listing: Iterable[bytes] = (_listed(models),)
        """The body that answers every GET."""
        self.behaviours: dict[str, Behaviour] = {}
        self.asked: list[str] = []
        """The model of every chat completion."""
        self.encodings: set[str | None] = set()
        """What the requests accept."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def serve(self) -> None:
        self._server.serve_forever(poll_interval=0.02)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def hostile_provider(*models: str) -> Iterator[HostileProvider]:
    """In a thread of its own: it lives longer than any test's event loop."""
    provider = HostileProvider(*models)
    thread = Thread(target=provider.serve, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.stop()
        thread.join()


def _listed(models: Iterable[str]) -> bytes:
    return json.dumps({"data": [{"id": model} for model in models]}).encode()


def _handler(provider: HostileProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(chain((head(content_type="application/json"),), provider.listing))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            provider.asked.append(body["model"])
            provider.encodings.add(self.headers["Accept-Encoding"])
            self._send(provider.behaviours[body["model"]](body))

        def log_message(self, *words: object) -> None:
            """Nobody reads it."""

        def _send(self, parts: Iterable[bytes]) -> None:
            self.close_connection = True
            try:
                for part in parts:
                    self.wfile.write(part)
            except ConnectionError:  # the other side has heard enough
                return

    return Handler
