"""Responses of providers as tuples of bytes, pauses and ends of the connection."""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Iterable
from typing import Any, Final

from tests.harness.providers.scripted_provider import DONE, End, Part, Script, head

__all__ = [
    "FULL",
    "JSON",
    "RESET",
    "SSE",
    "Answer",
    "chunked",
    "completion",
    "data",
    "delta",
    "endlessly",
    "error",
    "error_json",
    "events",
    "gzip_bomb",
    "http_head",
    "scripted",
    "sized",
    "stream",
    "until_closed",
]

Answer = tuple[Part, ...]
_MIB: Final = 1024 * 1024
JSON: Final = "application/json"
SSE: Final = "text/event-stream; charset=utf-8"
RESET: Final[Answer] = (End.RESET,)
FULL: Final = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
"""The usage in these responses."""


def http_head(status: str, content_type: str, *more: str) -> bytes:
    lines = (f"HTTP/1.1 {status}", f"Content-Type: {content_type}", *more)
    return "\r\n".join((*lines, "", "")).encode()


def sized(body: bytes, *more: str, status: str = "200 OK", content_type: str = JSON) -> Answer:
    """A response with a Content-Length on a connection that stays open."""
    return (http_head(status, content_type, f"Content-Length: {len(body)}", *more), body, End.KEEP)


def chunked(
    *pieces: bytes,
    status: str = "200 OK",
    content_type: str = SSE,
    ended: bool = True,
    more: Iterable[str] = (),
) -> Answer:
    """A response in chunked transfer encoding, a chunk per piece. Unless `ended`, the last, empty chunk is missing."""
    body = [f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces if piece]
    last: tuple[Part, ...] = (b"0\r\n\r\n", End.KEEP) if ended else ()
    return (http_head(status, content_type, "Transfer-Encoding: chunked", *more), *body, *last)


def until_closed(*pieces: bytes, content_type: str = SSE, more: Iterable[str] = ()) -> Answer:
    """A response whose body ends with the connection."""
    return (http_head("200 OK", content_type, "Connection: close", *more), *pieces)


def data(value: object, *, end: str = "\n\n") -> bytes:
    """One event of a stream; a text is sent unchanged."""
    text = value if isinstance(value, str) else json.dumps(value)
    return f"data: {text}{end}".encode()


def delta(
    content: object = None,
    finish_reason: str | None = None,
    *,
    choice: Any = None,
    top: Any = None,
    **more: Any,
) -> dict[str, Any]:
    """A chunk with `more` in its delta, `choice` beside the delta and `top` beside `choices`."""
    added = ({} if content is None else {"content": content}) | more
    only = {"index": 0, "delta": added, "finish_reason": finish_reason} | (choice or {})
    return {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [only]} | (
        top or {}
    )


def events(*chunks: object, done: bool = True) -> tuple[bytes, ...]:
    """Chunks as events; bytes are sent unchanged."""
    written = tuple(chunk if isinstance(chunk, bytes) else data(chunk) for chunk in chunks)
    return (*written, DONE) if done else written


def stream(*chunks: object, done: bool = True) -> Answer:
    """A stream as most providers send it: one event per HTTP chunk, and a clean end."""
    return chunked(*events(*chunks, done=done))


def completion(
    content: object = "Hello world", *, usage: object = FULL, choice: Any = None, top: Any = None, **more: Any
) -> Answer:
    """A whole completion with `more` in its message."""
    return sized(json.dumps(completion_json(content, usage=usage, choice=choice, top=top, **more)).encode())


def completion_json(content: object, *, usage: object, choice: Any, top: Any, **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content} | more
    only = {"index": 0, "message": message, "finish_reason": "stop"} | (choice or {})
    body = {"id": "c-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [only]}
    return body | ({} if usage is None else {"usage": usage}) | (top or {})


def error(status: int, body: object, *more: str, reason: str = "Error") -> Answer:
    """An error response; text or bytes are sent unchanged as its body."""
    text = body if isinstance(body, (str, bytes)) else json.dumps(body)
    written = text.encode() if isinstance(text, str) else text
    return sized(written, *more, status=f"{status} {reason}")


def error_json(code: object, message: str, **more: object) -> dict[str, object]:
    return {"error": {"message": message, "code": code, **more}}


def scripted(*parts: bytes) -> Script:
    """A provider that sends the same parts to every call."""
    return lambda _: parts


def endlessly(first: bytes, again: bytes) -> Script:
    """A provider that sends `first` and then repeats `again` without end."""
    return lambda _: itertools.chain((first,), itertools.repeat(again))


def gzip_bomb(beginning: bytes = b" ") -> bytes:
    """A response of 600 KB that decompresses to 600 MB: one compressed block of spaces, repeated.

    It lacks the checksum at the end, because no test reads that far.
    """
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    first = packer.compress(beginning) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(b" " * _MIB) + packer.flush(zlib.Z_FULL_FLUSH)
    packed = first + block * 600
    return head("200 OK", JSON, "Content-Encoding: gzip", f"Content-Length: {len(packed)}") + packed
