"""Replies encoded as whole bodies or SSE events, including the deliberately broken ones."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from services.simulator.answers.chat import Answer
from services.simulator.behaviour.model_names import Behaviour
from services.simulator.settings import HeaderStyle

__all__ = [
    "HTML_PAGE",
    "Ending",
    "Head",
    "StreamScript",
    "WholeScript",
    "break_body",
    "script_stream",
    "script_whole",
]

Ending = Literal["ok", "broken", "cut", "stall"]
"""How a reply ends: complete · complete HTTP with an invalid answer · connection closed · connection silent."""

HTML_PAGE: Final = (
    b"<!doctype html><html><head><title>502</title></head><body><h1>Bad gateway</h1></body></html>\n"
)
_DONE: Final = b"data: [DONE]\n\n"
_ERROR: Final = (
    b'{"error":{"message":"The server had an error while processing your request.",'
    b'"type":"server_error","param":null,"code":null}}'
)
_BREAKS_AFTER_TOKENS: Final = frozenset({"cut", "stall", "malformed", "error-event"})


class Head(Struct, frozen=True):
    """The fields that the reply and each of its chunks repeat."""

    id: str
    model: str
    created_s: int
    """Unix time."""
    prompt_tokens: int
    style: HeaderStyle


class WholeScript(Struct, frozen=True):
    body: bytes
    """The complete body; the content-length header is its length."""
    sent: int
    """Number of bytes of `body` that are sent before the ending."""
    ending: Ending


class StreamScript(Struct, frozen=True):
    opening: tuple[bytes, ...]
    tokens: Iterator[bytes]
    """One event per token, encoded lazily because an answer may be long."""
    closing: tuple[bytes, ...]
    ending: Ending


def _usage(head: Head, completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": head.prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": head.prompt_tokens + completion_tokens,
    }


def script_whole(head: Head, answers: list[Answer], behaviour: Behaviour) -> WholeScript:
    reply: dict[str, Any] = {
        "id": head.id,
        "object": "chat.completion",
        "created": head.created_s,
        "model": head.model,
        "system_fingerprint": "fp_simulator",
        "choices": [_choice(index, answer) for index, answer in enumerate(answers)],
        "usage": _usage(head, sum(answer.tokens for answer in answers)),
    }
    if behaviour.kind == "empty":
        reply["choices"] = []
    if behaviour.kind == "no-finish":
        for choice in reply["choices"]:
            choice["finish_reason"] = None
    if head.style == "groq":
        reply["x_groq"] = {"id": head.id}
    return break_body(msgspec.json.encode(reply), behaviour)


def break_body(body: bytes, behaviour: Behaviour) -> WholeScript:
    """A whole reply, broken in the way `behaviour` prescribes."""
    half = len(body) // 2
    match behaviour.kind:
        case "error-event":
            return WholeScript(_ERROR, len(_ERROR), "broken")
        case "malformed":
            return WholeScript(body[:half], half, "broken")
        case "cut":
            return WholeScript(body, half, "cut")
        case "stall":
            return WholeScript(body, half, "stall")
        case "empty" | "no-finish":
            return WholeScript(body, len(body), "broken")
        case _:
            return WholeScript(body, len(body), "ok")


def _choice(index: int, answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "".join(answer.content)}
    if answer.reasoning:
        message["reasoning"] = "".join(answer.reasoning)
    if answer.tool is not None:
        message["content"] = None
        call = {"name": answer.tool.name, "arguments": "".join(answer.tool.arguments)}
        message["tool_calls"] = [{"id": answer.tool.id, "type": "function", "function": call}]
    return {"index": index, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}


def script_stream(head: Head, answer: Answer, behaviour: Behaviour, *, include_usage: bool) -> StreamScript:
    if behaviour.kind == "empty":
        return StreamScript((), iter(()), (_DONE,), "broken")
    events = _Events(head, include_usage=include_usage)
    opening = (events.delta(_opening_delta(answer)),)
    tokens = events.tokens(answer)
    if behaviour.kind in _BREAKS_AFTER_TOKENS:
        return _broken(behaviour, opening, tokens, events)
    closing: list[bytes] = []
    if behaviour.kind != "no-finish":
        closing += events.finish(answer)
    if behaviour.kind != "no-done":
        closing.append(_DONE)
    ending: Ending = "broken" if behaviour.kind in ("no-finish", "no-done") else "ok"
    return StreamScript(opening, tokens, tuple(closing), ending)


def _broken(
    behaviour: Behaviour, opening: tuple[bytes, ...], tokens: Iterator[bytes], events: _Events
) -> StreamScript:
    """The first tokens, followed by the failure that `behaviour` prescribes."""
    first = islice(tokens, int(behaviour.value))
    if behaviour.kind == "malformed":
        return StreamScript(opening, first, (events.malformed(), _DONE), "broken")
    if behaviour.kind == "error-event":
        return StreamScript(opening, first, (b"data: " + _ERROR + b"\n\n",), "broken")
    return StreamScript(opening, first, (), "cut" if behaviour.kind == "cut" else "stall")


def _opening_delta(answer: Answer) -> dict[str, Any]:
    if answer.tool is None:
        return {"role": "assistant", "content": ""}
    call = {"name": answer.tool.name, "arguments": ""}
    tool = {"index": 0, "id": answer.tool.id, "type": "function", "function": call}
    return {"role": "assistant", "content": None, "tool_calls": [tool]}


class _Events:
    """The SSE events of one stream; their shared fields are encoded once."""

    def __init__(self, head: Head, *, include_usage: bool) -> None:
        self._head = head
        self._include_usage = include_usage
        shared = msgspec.json.encode(
            {
                "id": head.id,
                "object": "chat.completion.chunk",
                "created": head.created_s,
                "model": head.model,
                "system_fingerprint": "fp_simulator",
            }
        )
        self._prefix = b"data: " + shared[:-1] + b","
        # When usage is requested, OpenAI sends a null usage with every chunk but the last.
        self._suffix = b',"usage":null}\n\n' if include_usage else b"}\n\n"

    def delta(self, delta: dict[str, Any]) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        return self._prefix + b'"choices":' + msgspec.json.encode([choice]) + self._suffix

    def tokens(self, answer: Answer) -> Iterator[bytes]:
        yield from self._pieces(b'{"reasoning":', answer.reasoning, b"}")
        yield from self._pieces(b'{"content":', answer.content, b"}")
        if answer.tool is not None:
            before, after = b'{"tool_calls":[{"index":0,"function":{"arguments":', b"}}]}"
            yield from self._pieces(before, answer.tool.arguments, after)

    def _pieces(self, before: bytes, pieces: tuple[str, ...], after: bytes) -> Iterator[bytes]:
        head = self._prefix + b'"choices":[{"index":0,"delta":' + before
        tail = after + b',"logprobs":null,"finish_reason":null}]' + self._suffix
        encode = msgspec.json.encode
        for piece in pieces:
            yield head + encode(piece) + tail

    def finish(self, answer: Answer) -> list[bytes]:
        choice = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": answer.finish_reason}
        body = self._prefix + b'"choices":' + msgspec.json.encode([choice])
        total = msgspec.json.encode(_usage(self._head, answer.tokens))
        if self._head.style == "groq":
            # Groq reports the usage here whether or not it was requested.
            body += b',"x_groq":{"id":' + msgspec.json.encode(self._head.id) + b',"usage":' + total + b"}"
        events = [body + self._suffix]
        if self._include_usage:
            events.append(self._prefix + b'"choices":[],"usage":' + total + b"}\n\n")
        return events

    def malformed(self) -> bytes:
        return self._prefix + b'"choices":[{"index":0,"delta":{"content":" brok\n\n'
