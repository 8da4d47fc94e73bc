"""An HTTP provider that sends the bytes a test prescribes."""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from threading import Event, Thread
from typing import Any

from msgspec import Struct

__all__ = [
    "DONE",
    "Call",
    "End",
    "Part",
    "Script",
    "ScriptedProvider",
    "chunk",
    "head",
    "scripted_provider",
    "whole",
]


class End(Enum):
    """How a connection ends; with a FIN if an answer names none of these."""

    RESET = "reset"
    """The connection ends with an RST: the client's next read fails."""
    KEEP = "keep"
    """The connection stays open: the client may send its next request on it."""
    JOINED = "joined"
    """Before the bytes of an answer: they and the FIN leave in one packet."""


Part = bytes | float | End
"""Bytes to send, seconds to wait, or the end of the connection."""
Script = Callable[[dict[str, Any]], Iterable[Part]]
"""From the request's body to everything that goes over the wire, status line included; then the connection closes."""


class Call(Struct, frozen=True):
    """One chat completion as it arrived."""

    provider: str
    """The first part of the path if one server plays several providers, else empty."""
    model: str
    key: str
    """The credential, without `Bearer `."""
    body: dict[str, Any]
    at_s: float
    """Seconds of the monotonic clock."""
    cookie: str | None = None
    """The Cookie header."""


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


class ScriptedProvider:
    """Lists its models, and answers each chat completion by the script of the requested model."""

    def __init__(self, *models: str) -> None:
        self.listing: Iterable[bytes] = (_listed(models),)
        """The body that answers every GET."""
        self.listings: dict[str, Iterable[Part]] = {}
        """By provider: all bytes that answer a GET, instead of `listing`."""
        self.behaviours: dict[str, Script] = {}
        self.answer: Callable[[Call], Iterable[Part]] | None = None
        """Answers every chat completion, instead of `behaviours`."""
        self.calls: list[Call] = []
        self.asked: list[str] = []
        """The model of every chat completion."""
        self.encodings: set[str | None] = set()
        """The Accept-Encoding headers of the requests."""
        self.most_bytes = sys.maxsize
        """A longer body is answered with 413 before it is read. It is never read, and the connection stays open."""
        self.connections = 0
        """Number of connections opened so far."""
        self.closed = 0
        """Number of connections closed so far."""
        self.stopped = Event()
        self._server = _Server(self)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def serve(self) -> None:
        self._server.serve_forever(poll_interval=0.02)

    def stop(self) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def scripted_provider(*models: str) -> Iterator[ScriptedProvider]:
    """Serve in a thread, which outlives the event loop of a test."""
    provider = ScriptedProvider(*models)
    thread = Thread(target=provider.serve, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.stop()
        thread.join()


def _listed(models: Iterable[str]) -> bytes:
    return json.dumps({"data": [{"id": model} for model in models]}).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, provider: ScriptedProvider) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.provider = provider

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.provider.closed += 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.provider.connections += 1

    def do_GET(self) -> None:
        provider = self.server.provider
        usual = chain((head(content_type="application/json"),), provider.listing)
        self._send(provider.listings.get(self._provider(), usual))

    def do_POST(self) -> None:
        provider = self.server.provider
        length = int(self.headers["Content-Length"])
        if length > provider.most_bytes:
            self.close_connection = True
            self.wfile.write(
                b"HTTP/1.1 413 Too Large\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
            )
            provider.stopped.wait()
            return
        body = json.loads(self.rfile.read(length))
        key = (self.headers["Authorization"] or "").removeprefix("Bearer ")
        call = Call(self._provider(), body["model"], key, body, time.monotonic(), self.headers["Cookie"])
        provider.calls.append(call)
        provider.asked.append(call.model)
        provider.encodings.add(self.headers["Accept-Encoding"])
        self._send(provider.answer(call) if provider.answer else provider.behaviours[call.model](body))

    def log_message(self, *parts: object) -> None:
        """No log."""

    def _provider(self) -> str:
        first = self.path.split("/")[1]
        return "" if first == "v1" else first

    def _send(self, parts: Iterable[Part]) -> None:
        self.close_connection = True
        try:
            for part in parts:
                self._one(part)
        except ConnectionError:  # the client has closed the connection
            return

    def _one(self, part: Part) -> None:
        if isinstance(part, bytes):
            self.wfile.write(part)
        elif isinstance(part, float):
            time.sleep(part)
        elif part is End.KEEP:
            self.close_connection = False
        elif part is End.JOINED:
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        else:
            at_once = struct.pack("ii", 1, 0)  # to linger for 0 s: closing sends an RST
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
            os.close(self.connection.detach())  # closing through the server would send a FIN first
            raise ConnectionResetError
