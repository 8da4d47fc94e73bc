"""Answers for the tests of the Responses dialect, and what it writes, read strictly with the models of OpenAI's SDK."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Raw
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import ParsedResponse, Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from penstock.contract.reply import Completed, Delta, Failure, Started, Timings, Usage
from services.edge.dialects.dialect import AnswerError, SseEvent
from services.edge.dialects.responses import ResponsesDialect
from services.edge.dialects.responses_request import ResponsesCall

ID, CREATED_S = "resp_0199", 1_790_000_000
_EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
_NOT_IN_SDK = {
    "response.store",
    "event.response.store",
    "event.logprobs.bytes",
    "event.logprobs.top_logprobs.bytes",
}
"""OpenAI's API sends `store` too. The SDK has `bytes` in the log probabilities of parts, and not in those of deltas."""


def call(**fields: Any) -> ResponsesCall:
    return ResponsesDialect().read(json.dumps({"model": "auto", "input": "Hello", **fields}).encode())


def started(model: str = "first-model") -> Started:
    return Started(id="r", seq=1_000_000, model=model, provider="p", worker="w", at_ms=0)


def text(content: str) -> Delta:
    return Delta(id="r", seq=1_000_001, text=content)


def choices(*deltas: dict[str, Any], **fields: Any) -> Delta:
    raws = [Raw(json.dumps({"index": 0, "delta": delta, **fields}).encode()) for delta in deltas]
    return Delta(id="r", seq=1_000_001, choices=tuple(raws))


def tool_call(
    index: int | None, call_id: str | None = None, name: str | None = None, arguments: Any = ""
) -> Any:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    named = {"id": call_id, "type": "function"} if call_id is not None else {}
    return {"tool_calls": [({} if index is None else {"index": index}) | named | {"function": function}]}


def completed(finish_reason: str = "stop", message: dict[str, Any] | None = None, **choice: Any) -> Completed:
    choice = {"index": 0, "message": {"role": "assistant", "content": None, **(message or {})}, **choice}
    return Completed(
        id="r",
        seq=1_000_002,
        role="chat",
        model="last-model",
        provider="p",
        finish_reason=finish_reason,
        usage=Usage(input_tokens=20, output_tokens=7, cached_input_tokens=16, reasoning_tokens=3),
        timings=Timings(total_ms=2_600),
        response=Raw(json.dumps({"object": "chat.completion", "choices": [choice]}).encode()),
    )


def streamed(
    deltas: Iterable[Delta], end: Completed | Failure, request: ResponsesCall | None = None
) -> list[SseEvent]:
    stream = ResponsesDialect().stream(ID, CREATED_S, request or call(stream=True))
    events = stream.begin(started())
    for delta in deltas:
        events += stream.delta(delta)
    return events + (stream.complete(end) if isinstance(end, Completed) else stream.fail(AnswerError.of(end)))


def whole(end: Completed, request: ResponsesCall | None = None) -> Response:
    return strict_response(ResponsesDialect().whole(ID, CREATED_S, request or call(), end))


def strict_response(body: bytes) -> Response:
    response = Response.model_validate_json(body, strict=True)
    assert set(_unknown(response, "response")) <= _NOT_IN_SDK
    return response


def strict_events(events: Iterable[SseEvent]) -> list[Any]:
    """Parsed events. Their numbers, names and places are checked, also by the SDK's own accumulation."""
    parsed = [_EVENTS.validate_json(event.data, strict=True) for event in events]
    assert [each.type for each in parsed] == [event.event for event in events]
    assert [each.sequence_number for each in parsed] == list(range(len(parsed)))
    for each in parsed:
        assert set(_unknown(each, "event")) <= _NOT_IN_SDK
    _check_lifecycle(parsed)
    if parsed[-1].type == "response.completed":
        response = accumulated(parsed)
        assert response is not None
        assert response.output_text == parsed[-1].response.output_text
    return parsed


def accumulated(parsed: Iterable[Any]) -> ParsedResponse[Any] | None:
    """The response that `client.responses.stream` of the SDK returns at the end."""
    state: ResponseStreamState[Any] = ResponseStreamState(input_tools=omit, text_format=omit)
    for event in parsed:
        state.handle_event(event)
    return state._completed_response


def _check_lifecycle(parsed: list[Any]) -> None:
    """Each item is announced once, under the next index, before its content, and ends with what its deltas sent."""
    ids: list[str] = []
    sent: dict[tuple[int, int], str] = {}
    done: dict[int, Any] = {}
    for event in parsed:
        match event.type.rpartition("."):
            case ("response.output_item", _, "added"):
                assert event.output_index == len(ids)
                assert event.item.id not in ids
                ids.append(event.item.id)
            case ("response.output_item", _, "done"):
                assert event.output_index not in done
                assert event.item.id == ids[event.output_index]
                done[event.output_index] = event.item
            case ("response.content_part", _, "added"):
                assert (event.output_index, event.content_index) not in sent
                sent[event.output_index, event.content_index] = ""
            case (_, _, "delta"):
                assert event.output_index not in done
                assert event.item_id == ids[event.output_index]
                place = event.output_index, getattr(event, "content_index", -1)
                if place[1] < 0:
                    sent.setdefault(place, "")
                sent[place] += event.delta
    if parsed[-1].type != "response.failed":
        assert sorted(done) == list(range(len(ids)))
        assert [done[index] for index in sorted(done)] == parsed[-1].response.output
        assert sent == {
            place: content for index, item in done.items() for place, content in _content(index, item)
        }


def _content(index: int, item: Any) -> Iterator[tuple[tuple[int, int], str]]:
    if item.type == "function_call":
        if item.arguments:
            yield (index, -1), item.arguments
        return
    for position, part in enumerate(item.content):
        yield (index, position), part.refusal if part.type == "refusal" else part.text


def _unknown(value: Any, path: str) -> Iterator[str]:
    """The fields that the SDK's models do not have."""
    if isinstance(value, list):
        for each in value:
            yield from _unknown(each, path)
    elif isinstance(value, BaseModel):
        yield from (f"{path}.{name}" for name in value.model_extra or ())
        for name in type(value).model_fields:
            yield from _unknown(getattr(value, name), f"{path}.{name}")
