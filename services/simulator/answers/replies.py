"""Replies encoded as whole bodies or SSE events, including the deliberately broken ones."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, zip_longest
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from services.simulator.answers.chat import Answer
from services.simulator.answers.tools import ToolCall
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
    cached_tokens: int = 0
    """The part of `prompt_tokens` that counts as read from a prompt cache."""


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


def _usage(head: Head, answers: list[Answer]) -> dict[str, Any]:
    completion_tokens = sum(answer.tokens for answer in answers)
    reasoning_tokens = sum(len(answer.reasoning) for answer in answers)
    usage: dict[str, Any] = {
        "prompt_tokens": head.prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": head.prompt_tokens + completion_tokens,
    }
    if head.cached_tokens:
        usage["prompt_tokens_details"] = {"cached_tokens": head.cached_tokens}
    if reasoning_tokens:
        usage["completion_tokens_details"] = {"reasoning_tokens": reasoning_tokens}
    return usage


def script_whole(head: Head, answers: list[Answer], behaviour: Behaviour) -> WholeScript:
    reply: dict[str, Any] = {
        "id": head.id,
        "object": "chat.completion",
        "created": head.created_s,
        "model": head.model,
        "system_fingerprint": "fp_simulator",
        "choices": [_choice(index, answer) for index, answer in enumerate(answers)],
        "usage": _usage(head, answers),
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
        thought = "".join(answer.reasoning)
        message |= {"reasoning": thought, "reasoning_content": thought}
    if answer.calls:
        message["content"] = None
        message["tool_calls"] = [_call(call, "".join(call.arguments)) for call in answer.calls]
    return {
        "index": index,
        "message": message,
        "logprobs": answer.logprobs(answer.content),
        "finish_reason": answer.finish_reason,
    }


def _call(call: ToolCall, arguments: str) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def script_stream(
    head: Head, answers: list[Answer], behaviour: Behaviour, *, include_usage: bool
) -> StreamScript:
    if behaviour.kind == "empty":
        return StreamScript((), iter(()), (_DONE,), "broken")
    events = _Events(head, include_usage=include_usage)
    opening = tuple(events.choice(index, _opening_delta(answer)) for index, answer in enumerate(answers))
    tokens = _in_turn([events.tokens(index, answer) for index, answer in enumerate(answers)])
    if behaviour.kind in _BREAKS_AFTER_TOKENS:
        return _broken(behaviour, opening, tokens, events)
    closing: list[bytes] = []
    if behaviour.kind != "no-finish":
        closing += events.finish(answers)
    if behaviour.kind != "no-done":
        closing.append(_DONE)
    ending: Ending = "broken" if behaviour.kind in ("no-finish", "no-done") else "ok"
    return StreamScript(opening, tokens, tuple(closing), ending)


def _in_turn(choices: list[Iterator[bytes]]) -> Iterator[bytes]:
    """One event of each choice, another of each, and so on: providers generate choices at the same time."""
    if len(choices) == 1:
        return choices[0]
    turns = zip_longest(*choices)
    return (event for turn in turns for event in turn if event is not None)


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
    if not answer.calls:
        return {"role": "assistant", "content": ""}
    return {"role": "assistant", "content": None, "tool_calls": [{"index": 0, **_call(answer.calls[0], "")}]}


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

    def choice(
        self, index: int, delta: dict[str, Any], logprobs: Any = None, reason: str | None = None
    ) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return self._prefix + b'"choices":' + msgspec.json.encode([choice]) + self._suffix

    def tokens(self, index: int, answer: Answer) -> Iterator[bytes]:
        for piece in answer.reasoning:
            yield self.choice(index, {"reasoning": piece, "reasoning_content": piece})
        if answer.top_logprobs is None:
            yield from self._pieces(index, b'{"content":', answer.content, b"}")
        else:
            for piece in answer.content:
                yield self.choice(index, {"content": piece}, answer.logprobs((piece,)))
        for number, call in enumerate(answer.calls):
            arguments = call.arguments
            if number and arguments:  # the opening announces the first call
                yield self.choice(index, {"tool_calls": [{"index": number, **_call(call, arguments[0])}]})
                arguments = arguments[1:]
            before = b'{"tool_calls":[{"index":%d,"function":{"arguments":' % number
            yield from self._pieces(index, before, arguments, b"}}]}")

    def _pieces(self, index: int, before: bytes, pieces: tuple[str, ...], after: bytes) -> Iterator[bytes]:
        head = self._prefix + b'"choices":[{"index":%d,"delta":' % index + before
        tail = after + b',"logprobs":null,"finish_reason":null}]' + self._suffix
        encode = msgspec.json.encode
        for piece in pieces:
            yield head + encode(piece) + tail

    def finish(self, answers: list[Answer]) -> list[bytes]:
        events = [self.choice(index, {}, None, answer.finish_reason) for index, answer in enumerate(answers)]
        total = msgspec.json.encode(_usage(self._head, answers))
        if self._head.style == "groq":
            # Groq reports the usage here whether or not it was requested.
            groq = b',"x_groq":{"id":' + msgspec.json.encode(self._head.id) + b',"usage":' + total + b"}"
            events[-1] = events[-1].removesuffix(self._suffix) + groq + self._suffix
        if self._include_usage:
            events.append(self._prefix + b'"choices":[],"usage":' + total + b"}\n\n")
        return events

    def malformed(self) -> bytes:
        return self._prefix + b'"choices":[{"index":0,"delta":{"content":" brok\n\n'
