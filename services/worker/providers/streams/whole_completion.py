"""A whole chat completion: one JSON body, or a stream of events that is joined into one."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from penstock.runtime.config.catalogue import StreamFormat
from services.worker.providers.errors.read_error import error_in
from services.worker.providers.errors.wire_errors import (
    NO_FINISH_REASON_HINT,
    MalformedReply,
    ProviderErrorEvent,
)
from services.worker.providers.json_repair import repair_json
from services.worker.providers.raw_json import (
    ABSENT,
    decode_any,
    decode_list,
    fields_of,
    is_set,
    name_of,
)
from services.worker.providers.size_limits import WHOLE_BYTES, clip_name
from services.worker.providers.streams.choices import (
    check_finish_reason,
    error_of,
    finish_reason_of,
    index_of,
)
from services.worker.providers.streams.chunks import (
    DEFAULT_FINISH_REASON,
    ChunkReader,
    StreamEnd,
    missing_choices,
)
from services.worker.providers.streams.sse import SseReader
from services.worker.providers.usage import TokenCounts, read_usage

__all__ = ["WholeCompletion", "is_event_stream", "read_plain", "read_whole", "without_bom"]

_BOM: Final = b"\xef\xbb\xbf"
_SSE: Final = (b"data:", b"event:", b"id:", b"retry:", b":")
_DEFAULT: Final = StreamFormat()
_READABLE: Final = (b'"', b"[", b"n")
"""How the content of a message begins: text, parts, or null."""
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
"""Keys whose text continues in each chunk; the values of other keys are repeated or sent once."""


class WholeCompletion(Struct, frozen=True, kw_only=True):
    """The body of a completion, and the fields of it that the worker uses."""

    finish_reason: str
    """The finish reason of choice 0."""
    model: str | None
    usage: TokenCounts | None
    response_id: str | None
    body: bytes
    """The body as received; repaired if a strict JSON decoder rejects it."""
    message_bytes: int
    """The total length of the encoded messages."""


def read_whole(
    body: bytes, stream_format: StreamFormat = _DEFAULT, choices: int | None = None
) -> WholeCompletion:
    """Read the body of a response with status 200. A stream of events, sent unrequested, is joined into one body.

    `choices`: the number of requested choices; None if unknown. Raises MalformedReply unless the body is a complete
    chat completion (D6), ProviderErrorEvent for an error in its place, and WireError as for a stream.
    """
    body = without_bom(body)
    if is_event_stream(body):
        body = _joined(body, stream_format, choices)
    if (plain := read_plain(body, choices)) is not None:
        return plain
    try:
        return _read(body, stream_format, choices)
    except (ValueError, RecursionError):
        pass  # the repaired body may be valid
    try:
        return _read(repair_json(body), stream_format, choices)
    except (ValueError, RecursionError) as error:
        raise MalformedReply(f"not a complete chat completion: {error}") from error


def without_bom(body: bytes) -> bytes:
    """The body without a byte order mark before it."""
    return body.removeprefix(_BOM)


def is_event_stream(body: bytes) -> bool:
    """Whether the body begins as a stream of events."""
    return body.lstrip().startswith(_SSE)


class _PlainMessage(Struct, frozen=True):
    content: Raw


class _PlainChoice(Struct, frozen=True):
    index: Annotated[int, Meta(ge=0)]
    message: Raw
    finish_reason: Literal["stop", "length", "tool_calls"]
    error: None = None


class _Plain(Struct, frozen=True):
    """The usual completion. One with any other value is read field by field."""

    choices: Annotated[list[_PlainChoice], Meta(min_length=1)]
    usage: Raw
    id: str | None = None
    model: str | None = None
    error: None = None


_decode_plain: Final = msgspec.json.Decoder(_Plain).decode
_decode_message: Final = msgspec.json.Decoder(_PlainMessage).decode


def read_plain(body: bytes, requested: int | None) -> WholeCompletion | None:
    """The same as `_read` of the usual completion, which it decodes at once; None for any other body."""
    reasons: dict[int, str] = {}
    message_bytes = 0
    try:
        body.decode()  # as there
        plain = _decode_plain(body)
        for choice in plain.choices:
            if bytes(_decode_message(choice.message).content)[:1] not in _READABLE:
                return None
            reasons[choice.index] = choice.finish_reason
            message_bytes += len(choice.message)
        usage = read_usage(plain.usage)
    except (ValueError, RecursionError):
        return None
    if usage is None or missing_choices(len(reasons), requested, proved=True):
        return None
    return WholeCompletion(
        finish_reason=reasons[min(reasons)],
        model=clip_name(plain.model),
        usage=usage,
        response_id=clip_name(plain.id),
        body=body,
        message_bytes=message_bytes,
    )


def _read(body: bytes, stream_format: StreamFormat, requested: int | None) -> WholeCompletion:
    fields = fields_of(body)
    # msgspec checks UTF-8 only in decoded values; the body is passed on unchanged.
    body.decode()
    error = error_of(fields.get("error", ABSENT)) if fields else None
    if fields is None or not is_set(fields.get("choices", ABSENT)):
        error = error or error_in(decode_any(body))
    if error is not None:
        raise ProviderErrorEvent(error)
    if fields is None or not is_set(fields.get("choices", ABSENT)):
        raise MalformedReply("a reply without choices")
    reasons: dict[int, str] = {}
    usage = _read_usage(fields)
    message_bytes = 0
    for position, raw in enumerate(decode_list(fields["choices"])):
        choice = fields_of(raw) or {}
        if error := error_of(choice.get("error", ABSENT)):
            raise ProviderErrorEvent(error)
        reasons[index_of(choice.get("index", ABSENT), position)] = _reason(choice, stream_format)
        message_bytes += len(_message(choice))
        usage = usage or read_usage(choice.get("usage", ABSENT))
    if missing := missing_choices(len(reasons), requested, proved=True):  # complete JSON proves its own end
        raise MalformedReply(f"an answer {missing}")
    return WholeCompletion(
        finish_reason=reasons[min(reasons)],
        model=name_of(fields.get("model", ABSENT)),
        usage=usage,
        response_id=name_of(fields.get("id", ABSENT)),
        body=body,
        message_bytes=message_bytes,
    )


def _reason(choice: dict[str, Raw], stream_format: StreamFormat) -> str:
    reason = finish_reason_of(choice.get("finish_reason", ABSENT))
    if not reason and stream_format.finish_reason == "optional":
        return DEFAULT_FINISH_REASON
    if not reason:
        raise MalformedReply(f"a choice that was not finished{NO_FINISH_REASON_HINT}")
    check_finish_reason(reason)
    return reason


def _message(choice: dict[str, Raw]) -> Raw:
    message = choice.get("message", ABSENT)
    content = (fields_of(message) or {}).get("content", ABSENT) if message != ABSENT else None
    if content is None or bytes(content)[:1] not in _READABLE:
        raise MalformedReply("a choice without a readable message")
    return message


def _read_usage(fields: dict[str, Raw]) -> TokenCounts | None:
    usage = read_usage(fields.get("usage", ABSENT))
    groq = fields_of(fields["x_groq"]) if usage is None and "x_groq" in fields else None
    return read_usage(groq.get("usage", ABSENT)) if groq else usage


def _joined(data: bytes, stream_format: StreamFormat, choices: int | None) -> bytes:
    """The chat completion that the events form. Raises WireError for an incomplete one."""
    events, chunks = SseReader(WHOLE_BYTES, stream_format), ChunkReader(stream_format, choices)
    texts: list[str] = []
    messages: dict[int, dict[str, Any]] = {}
    for payload in (*events.feed(data), *events.close()):
        delta = chunks.read(payload)
        if delta is None:
            continue
        texts.append(delta.text)
        for raw in delta.choices:
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
            "finish_reason": end.finish_reasons.get(index, DEFAULT_FINISH_REASON),
        }
        for index, message in sorted(messages.items())
    ]
    body = {"id": end.response_id, "object": "chat.completion", "model": end.model, "choices": choices}
    return msgspec.json.encode(body if end.usage is None else {**body, "usage": _usage(end.usage)})


def _usage(counted: TokenCounts) -> dict[str, Any]:
    """The counts under OpenAI's names."""
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
            whole[name] = _merge_list([], value) if isinstance(value, list) else value
        elif isinstance(before, str) and isinstance(value, str):
            whole[name] = before + value if name in _GROWING else value or before
        elif isinstance(before, dict) and isinstance(value, dict):
            _merge(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            _merge_list(before, value)
        elif value is not None:
            whole[name] = value


def _merge_list(whole: list[Any], more: list[Any]) -> list[Any]:
    """Join elements with the same `index`, such as the parts of a tool call, and append all others."""
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
