"""A stream that came where a whole answer was asked for, put together to the body of one."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from penstock.runtime.config.catalogue import StreamFormat
from services.worker.providers.size_limits import WHOLE_BYTES
from services.worker.providers.streams.chunks import ChunkReader, StreamEnd
from services.worker.providers.streams.sse import SseReader
from services.worker.providers.usage import TokenCounts

__all__ = ["gathered"]

_GROWING: Final = frozenset(
    (
        "content",
        "refusal",
        "reasoning",
        "reasoning_content",
        "arguments",
        "text",
        "thinking",
        "data",
        "transcript",
    )
)
"""Texts of which each chunk has a further piece; other keys are repeated or said once."""


def gathered(data: bytes, stream_format: StreamFormat, choices: int | None = None) -> bytes:
    """The chat completion that the events are pieces of. Raises WireError for one that is not whole."""
    events, chunks = SseReader(WHOLE_BYTES, stream_format), ChunkReader(stream_format, choices)
    texts: list[str] = []
    messages: dict[int, dict[str, Any]] = {}
    for payload in (*events.feed(data), *events.close()):
        piece = chunks.read(payload)
        if piece is None:
            continue
        texts.append(piece.text)
        for raw in piece.choices:
            choice = msgspec.json.decode(raw)
            _merge(messages.setdefault(int(choice.get("index") or 0), {}), choice.get("delta") or {})
    end = chunks.end(events.done)
    return _body(end, "".join(texts) + end.rest, messages)


def _body(end: StreamEnd, text: str, messages: dict[int, dict[str, Any]]) -> bytes:
    if text or 0 in end.finish_reasons:
        first = messages.setdefault(0, {})
        first["content"] = text or first.get("content")
    choices = [
        {
            "index": index,
            "message": {"content": None, **message, "role": "assistant"},
            "finish_reason": end.finish_reasons.get(index, "stop"),
        }
        for index, message in sorted(messages.items())
    ]
    body = {"id": end.response_id, "object": "chat.completion", "model": end.model, "choices": choices}
    return msgspec.json.encode(body if end.usage is None else {**body, "usage": _usage(end.usage)})


def _usage(counted: TokenCounts) -> dict[str, Any]:
    """In OpenAI's terms."""
    return {
        "prompt_tokens": counted.input_tokens,
        "completion_tokens": counted.output_tokens,
        "prompt_tokens_details": {"cached_tokens": counted.cached_input_tokens},
        "completion_tokens_details": {"reasoning_tokens": counted.reasoning_tokens},
    }


def _merge(whole: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        before = whole.get(name)
        if before is None:
            whole[name] = _merged_list([], value) if isinstance(value, list) else value
        elif isinstance(before, str) and isinstance(value, str):
            whole[name] = before + value if name in _GROWING else value or before
        elif isinstance(before, dict) and isinstance(value, dict):
            _merge(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            _merged_list(before, value)
        elif value is not None:
            whole[name] = value


def _merged_list(whole: list[Any], more: list[Any]) -> list[Any]:
    """Elements with an `index`, as tool calls have, are pieces of one another."""
    for element in more:
        index = element.get("index") if isinstance(element, dict) else None
        same = [
            each
            for each in whole
            if isinstance(each, dict) and index is not None and each.get("index") == index
        ]
        if same:
            _merge(same[0], element)
        else:
            whole.append(element)
    return whole
