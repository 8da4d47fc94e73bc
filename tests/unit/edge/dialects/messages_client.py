"""Reads answers of the Messages API as strictly as the strictest client, and makes the reply events they come from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Raw

from penstock.contract.reply import Completed, Delta, Started, Usage
from services.edge.dialects.dialect import ChatCall, Dialect, SseEvent, StreamWriter
from services.edge.dialects.messages import MessagesDialect

DIALECT: Dialect = MessagesDialect()
ANSWER_ID = "msg_1"
USAGE = Usage(input_tokens=100, output_tokens=7, cached_input_tokens=60, reasoning_tokens=3)


def read(**fields: Any) -> ChatCall:
    """The call of a request with one question; `fields` replaces or adds to its body."""
    body = {"model": "auto", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}], **fields}
    return DIALECT.read(json.dumps(body).encode())


def chat(**fields: Any) -> dict[str, Any]:
    """The chat body of the same request."""
    return json.loads(bytes(read(**fields).body))


THINKING = read(thinking={"type": "adaptive"})
PLAIN = read()


def completed(finish_reason: str = "stop", message: dict[str, Any] | None = None) -> Completed:
    response = Raw(b"null")
    if message is not None:
        choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish_reason}
        response = Raw(msgspec.json.encode({"object": "chat.completion", "choices": [choice]}))
    return Completed(
        id="1",
        seq=1_000_009,
        role="chat",
        model="m-answered",
        provider="p",
        finish_reason=finish_reason,
        usage=USAGE,
        response=response,
    )


def whole(message: dict[str, Any], finish_reason: str = "stop", call: ChatCall = THINKING) -> dict[str, Any]:
    return json.loads(DIALECT.whole(ANSWER_ID, 1, call, completed(finish_reason, message)))


def text(content: str) -> Delta:
    return Delta(id="1", seq=1, text=content)


def choice(index: int = 0, **delta: Any) -> Delta:
    return Delta(id="1", seq=1, choices=(Raw(msgspec.json.encode({"index": index, "delta": delta})),))


def tool(index: int | None = 0, *, id: str = "", name: str = "", arguments: str | None = None) -> Delta:  # noqa: A002 - the field's name
    """A delta with one fragment of a tool call, without its empty fields."""
    function = {
        key: value for key, value in (("name", name or None), ("arguments", arguments)) if value is not None
    }
    fields = (("index", index), ("id", id or None), ("function", function))
    return choice(tool_calls=[{key: value for key, value in fields if value is not None}])


def begun(call: ChatCall = THINKING) -> tuple[StreamWriter, list[SseEvent]]:
    writer = DIALECT.stream(ANSWER_ID, 1, call)
    started = Started(id="1", seq=1_000_000, attempt=1, model="m-started", provider="p", worker="w", at_ms=0)
    return writer, writer.begin(started)


def events_of(
    deltas: Iterable[Delta], finish_reason: str = "stop", call: ChatCall = THINKING
) -> list[SseEvent]:
    writer, events = begun(call)
    for delta in deltas:
        events += writer.delta(delta)
    return events + writer.complete(completed(finish_reason))


def streamed(
    deltas: Iterable[Delta], finish_reason: str = "stop", call: ChatCall = THINKING
) -> dict[str, Any]:
    """The message that the stream adds up to."""
    return message_of(events_of(deltas, finish_reason, call))


def message_of(events: list[SseEvent]) -> dict[str, Any]:
    first, *rest = map(_data, events)
    assert first["type"] == "message_start"
    message, blocks = first["message"], []
    is_open = False
    while rest[0]["type"].startswith("content_block_"):
        event = rest.pop(0)
        if event["type"] == "content_block_start":
            assert not is_open
            assert event["index"] == len(blocks)
            blocks.append(event["content_block"] | {"partial": ""})
            is_open = True
            continue
        assert is_open
        assert event["index"] == len(blocks) - 1
        if event["type"] == "content_block_stop":
            is_open = False
        else:
            _add(blocks[-1], event["delta"])
    assert not is_open
    delta, stop = rest
    assert (delta["type"], stop) == ("message_delta", {"type": "message_stop"})
    return message | delta["delta"] | {"usage": delta["usage"], "content": list(map(_finished, blocks))}


def _data(event: SseEvent) -> dict[str, Any]:
    assert b"\n" not in event.data
    data = json.loads(event.data)
    assert data["type"] == event.event
    return data


def _add(block: dict[str, Any], delta: dict[str, Any]) -> None:
    kind = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "thinking"}
    assert block["type"] == kind.get(delta.pop("type"), "tool_use")
    ((field, fragment),) = delta.items()
    assert fragment
    block["partial" if field == "partial_json" else field] += fragment


def _finished(block: dict[str, Any]) -> dict[str, Any]:
    partial = block.pop("partial")
    assert block["type"] == "tool_use" or not partial
    return block | {"input": json.loads(partial)} if partial else block
