"""The three wire formats of the edge, as far as a test needs them to send a request and to read its answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from tests.harness.requests.edge_client import ReceivedEvent
from tests.harness.requests.edge_client import text_of as chat_text_of

__all__ = ["DIALECTS", "Dialect", "Summary", "last_part", "looks_whole"]


class Summary(Struct, frozen=True):
    """What an answer reports of itself."""

    model: str
    input_tokens: int
    output_tokens: int


class Dialect(Struct, frozen=True):
    path: str
    body: Callable[[str], dict[str, Any]]
    text_of: Callable[[list[ReceivedEvent]], str]
    ends: frozenset[str]
    """What only a complete answer has: names of events, or data."""
    error: str
    """The name of an event that ends a broken stream; empty: it has no name."""
    whole_text_of: Callable[[Any], str]
    summary: Callable[[Any], Summary]
    """Of a whole answer."""
    stream_summary: Callable[[list[ReceivedEvent]], Summary]
    """Of a complete stream, whose options are those of `stream_options`."""
    stream_options: dict[str, Any] = {}


def looks_whole(dialect: Dialect, events: list[ReceivedEvent]) -> bool:
    return any(event.event in dialect.ends or event.data in dialect.ends for event in events)


def last_part(events: list[ReceivedEvent]) -> list[ReceivedEvent]:
    """The events after the last `penstock.restarted`."""
    restarts = [n for n, event in enumerate(events) if event.event == "penstock.restarted"]
    return events[restarts[-1] + 1 :] if restarts else events


def _chat(prompt: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": prompt}]}


def _deltas_of(name: str, read: Callable[[Any], str]) -> Callable[[list[ReceivedEvent]], str]:
    return lambda events: "".join(read(event.json) for event in events if event.event == name)


def _chat_summary(answer: Any) -> Summary:
    usage = answer["usage"]
    return Summary(answer["model"], usage["prompt_tokens"], usage["completion_tokens"])


def _summary(answer: Any) -> Summary:
    """Of a response or a message; the input tokens of a message do not include those read from a cache."""
    usage = answer["usage"]
    input_tokens = usage["input_tokens"] + usage.get("cache_read_input_tokens", 0)
    return Summary(answer["model"], input_tokens, usage["output_tokens"])


def _of_message_stream(events: list[ReceivedEvent]) -> Summary:
    (start,) = [event.json["message"] for event in events if event.event == "message_start"]
    (delta,) = [event.json for event in events if event.event == "message_delta"]
    return _summary({**delta, "model": start["model"]})


DIALECTS = {
    "chat": Dialect(
        path="/v1/chat/completions",
        body=_chat,
        text_of=chat_text_of,
        ends=frozenset({"[DONE]"}),
        error="",
        whole_text_of=lambda answer: str(answer["choices"][0]["message"]["content"]),
        summary=_chat_summary,
        stream_summary=lambda events: _chat_summary(events[-2].json),
        stream_options={"stream_options": {"include_usage": True}},
    ),
    "responses": Dialect(
        path="/v1/responses",
        body=lambda prompt: {"input": prompt},
        text_of=_deltas_of("response.output_text.delta", lambda data: str(data["delta"])),
        ends=frozenset({"response.completed", "response.incomplete", "response.output_text.done"}),
        error="response.failed",
        whole_text_of=lambda answer: str(answer["output"][0]["content"][0]["text"]),
        summary=_summary,
        stream_summary=lambda events: _summary(events[-1].json["response"]),
    ),
    "messages": Dialect(
        path="/v1/messages",
        body=lambda prompt: {**_chat(prompt), "max_tokens": 4000},
        text_of=_deltas_of("content_block_delta", lambda data: str(data["delta"]["text"])),
        ends=frozenset({"message_delta", "message_stop", "content_block_stop"}),
        error="error",
        whole_text_of=lambda answer: str(answer["content"][0]["text"]),
        summary=_summary,
        stream_summary=_of_message_stream,
    ),
}
