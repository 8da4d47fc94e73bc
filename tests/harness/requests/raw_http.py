"""Requests of the edge as bytes, for what no HTTP client sends."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

__all__ = ["POST_CHAT", "answered", "code_of", "connected"]

POST_CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
"""The first lines of a head, to be continued."""


@asynccontextmanager
async def connected(url: str, *, receive_bytes: int | None = None) -> AsyncIterator[socket.socket]:
    """`receive_bytes`: the size of the receive buffer of the kernel."""
    parts = urlsplit(url)
    with socket.socket() as opened:
        if receive_bytes is not None:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        opened.setblocking(False)
        await asyncio.get_running_loop().sock_connect(opened, (parts.hostname, parts.port))
        yield opened


async def answered(url: str, *pieces: bytes, pause_s: float = 0.0, half_close: bool = False) -> bytes:
    """All that the server sends until it closes or resets the connection. `half_close`: after the last piece."""
    loop, received = asyncio.get_running_loop(), b""
    async with connected(url) as opened, asyncio.timeout(15):
        with suppress(ConnectionError):
            for piece in pieces:
                await loop.sock_sendall(opened, piece)
                await asyncio.sleep(pause_s)
            if half_close:
                opened.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while data := await loop.sock_recv(opened, 65_536):
                received += data
    return received


def code_of(answer: bytes) -> str:
    """The code of an error in OpenAI's shape."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head
    assert f"content-length: {len(body)}".encode() in head
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return str(error["code"])
