"""Many streams of one HTTP server at once, and the longest gap in each: as little work per chunk as possible, since the
client shares the processor with the servers.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Final, cast
from urllib.parse import urlsplit

import uvloop
from msgspec import Struct

__all__ = ["StreamedText", "longest_gap_ms", "stream_at_once"]

_RAMP_S: Final = 0.5
"""Within which all streams begin, so that their tokens are not due at the same instants."""


class StreamedText(Struct, frozen=True):
    text: str
    is_whole: bool
    """The stream ended with `[DONE]`."""
    longest_gap_ms: float
    """Between two arrivals of data, from the first text on."""


def longest_gap_ms(streams: list[StreamedText]) -> float:
    return max(stream.longest_gap_ms for stream in streams)


async def stream_at_once(
    url: str, model: str, prompts: list[str], timeout_s: float = 60.0
) -> list[StreamedText]:
    """The streamed chat completions of all prompts, read at the same time, in the order of the prompts.

    They are read in uvloop, in a thread, whatever the loop of the caller is.
    """
    return await asyncio.to_thread(uvloop.run, _stream_at_once(url, model, prompts, timeout_s))


async def _stream_at_once(url: str, model: str, prompts: list[str], timeout_s: float) -> list[StreamedText]:
    address = urlsplit(url)

    async def one(number: int, prompt: str) -> StreamedText:
        await asyncio.sleep(_RAMP_S * number / len(prompts))
        messages = [{"role": "user", "content": prompt}]
        body = json.dumps({"model": model, "messages": messages, "max_tokens": 5000, "stream": True}).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: {address.netloc}\r\nconnection: close\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        ).encode()
        loop = asyncio.get_running_loop()
        _, reader = await loop.create_connection(lambda: _Reader(head + body), address.hostname, address.port)
        return await reader.ended

    async with asyncio.timeout(timeout_s):
        return list(await asyncio.gather(*(one(number, prompt) for number, prompt in enumerate(prompts))))


class _Reader(asyncio.Protocol):
    def __init__(self, request: bytes) -> None:
        self._request = request
        self._received: list[bytes] = []
        self._last_s: float | None = None
        self._longest_s = 0.0
        self.ended: asyncio.Future[StreamedText] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        now_s = time.perf_counter()
        if self._last_s is not None:
            self._longest_s = max(self._longest_s, now_s - self._last_s)
            self._last_s = now_s
        elif b'"content":"' in data.replace(b'"content":""', b""):
            self._last_s = now_s
        self._received.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.ended.done():
            return
        if exc is not None:
            self.ended.set_exception(exc)
            return
        lines = b"".join(self._received).splitlines()
        data = [line.removeprefix(b"data: ") for line in lines if line.startswith(b"data: ")]
        chunks = [json.loads(each) for each in data if each != b"[DONE]"]
        choices = [choice for chunk in chunks for choice in chunk.get("choices", ())]
        text = "".join(choice["delta"].get("content") or "" for choice in choices)
        self.ended.set_result(StreamedText(text, data[-1:] == [b"[DONE]"], self._longest_s * 1000))
