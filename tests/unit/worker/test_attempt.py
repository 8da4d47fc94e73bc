"""One call from the provider's bytes to its end, without a network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from penstock.config.catalogue import StreamFormat, Timeouts
from services.worker.attempt import Answer, Call, Progress, attempt
from services.worker.delta_sink import DeltaSink
from services.worker.failures import ProviderFailure

CHUNKED = {"Transfer-Encoding": "chunked"}
HINT = "; if this provider ends its events with one newline, set stream: {event_end: newline} for it in the catalogue"


class Response:
    def __init__(self, pieces: list[bytes | float], headers: Mapping[str, str]) -> None:
        self._pieces = pieces
        self.headers = headers

    async def pieces(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, bytes):
                yield piece
            else:
                await asyncio.sleep(piece)

    async def close(self) -> None:
        return


class Endpoint:
    def __init__(self, pieces: list[bytes | float], headers: Mapping[str, str], **switches: Any) -> None:
        self._response = Response(pieces, headers)
        self.stream_format = StreamFormat(**switches)

    async def chat(self, *_: object) -> Response:
        return self._response

    def hide_keys(self, _: ProviderFailure) -> None:
        return


class Reply:
    def __init__(self) -> None:
        self.text = ""
        self.choices: list[Any] = []

    async def delta(self, text: str, choices: tuple[bytes, ...]) -> None:
        assert bool(text) != bool(choices)
        self.text += text
        self.choices += [json.loads(bytes(raw)) for raw in choices]


async def stream(
    *pieces: bytes | float, headers: Mapping[str, str] = CHUNKED, **switches: Any
) -> tuple[Answer, Reply]:
    reply: Any = Reply()
    answer = await _call(pieces, DeltaSink(reply), headers, switches)
    return answer, reply


async def whole(*pieces: bytes, **switches: Any) -> Answer:
    return await _call(pieces, None, CHUNKED, switches)


async def _call(
    pieces: tuple[bytes | float, ...],
    sink: DeltaSink | None,
    headers: Mapping[str, str],
    switches: dict[str, Any],
) -> Answer:
    provider: Any = Endpoint(list(pieces), headers, **switches)
    timeouts = Timeouts(first_token_s=0.2, between_tokens_s=0.2, whole_s=1.0)
    return await attempt(Call(provider, "KEY", b"{}", timeouts, "a.1"), sink, Progress())


def event(text: str | None, finish_reason: str | None = None, end: bytes = b"\n\n", **top: object) -> bytes:
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish_reason}
    return b"data: " + json.dumps({"id": "c", "model": "m", "choices": [choice], **top}).encode() + end


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
BODY = json.dumps(
    {
        "id": "c",
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello", "tool_calls": [CALL]},
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    },
    indent=1,
).encode()


async def test_a_stream_without_done_is_whole_when_its_choices_are_finished():
    for headers in (CHUNKED, {"content-length": "200"}, {}):
        answer, reply = await stream(event("Hel"), event("lo", "stop"), headers=headers)
        assert (answer.finish_reason, reply.text) == ("stop", "Hello")
    with pytest.raises(ProviderFailure, match=r"set stream: \{done: optional\}") as caught:
        await stream(event("Hello", "stop"), done="required")
    assert caught.value.kind == "broken_stream"


async def test_a_last_event_may_lack_its_end():
    answer, reply = await stream(event("Hel"), event("lo", "stop", end=b""))
    assert (answer.finish_reason, reply.text) == ("stop", "Hello")


async def test_one_json_body_in_the_place_of_a_stream_is_an_answer():
    answer, reply = await stream(BODY[:50], 0.5, BODY[50:])  # longer than the first token may take
    assert (answer.finish_reason, answer.model, reply.text) == ("tool_calls", "m", "Hello")
    assert [choice["delta"]["tool_calls"] for choice in reply.choices] == [[CALL]]
    assert (answer.counted.input_tokens, answer.counted.output_tokens) == (3, 2)
    for cut in (BODY[:-1], BODY[:50]):
        with pytest.raises(ProviderFailure) as caught:
            await stream(cut)
        assert caught.value.kind == "broken_stream"
    with pytest.raises(ProviderFailure, match="no whole answer within 1 s"):
        await stream(BODY[:50], 2.0, BODY[50:])


@pytest.mark.parametrize(
    "said",
    [
        b'{"error":{"message":"overloaded","code":"server_error"}}',
        b'data: {"error":{"message":"overloaded"}}\n\n',
        b'event: error\ndata: {"message":"overloaded"}\n\n',
        b"error: overloaded\n\n",
        event("Hel") + b'{"error":{"message":"overloaded"}}\n\n',
    ],
)
async def test_an_error_in_the_place_of_a_stream_is_read_as_one(said):
    with pytest.raises(ProviderFailure, match="overloaded") as caught:
        await stream(said)
    assert caught.value.error is not None


async def test_a_finish_reason_on_every_chunk_proves_nothing__d6():
    pieces = event("Hel", "stop"), event("lo", "stop")
    with pytest.raises(ProviderFailure, match=r"set stream: \{finish_reason: every\}"):
        await stream(*pieces, b"data: [DONE]\n\n")
    answer, reply = await stream(*pieces, b"data: [DONE]\n\n", headers={}, finish_reason="every")
    assert (answer.finish_reason, reply.text) == ("stop", "Hello")
    assert (await stream(*pieces, finish_reason="every"))[1].text == "Hello"
    with pytest.raises(ProviderFailure, match="neither a length nor chunks"):
        await stream(*pieces, headers={}, finish_reason="every")


async def test_a_missing_finish_reason_needs_a_proved_end__d6():
    with pytest.raises(ProviderFailure, match=r"set stream: \{finish_reason: optional\}"):
        await stream(event("Hello"), b"data: [DONE]\n\n")
    answer, _ = await stream(event("Hello"), b"data: [DONE]\n\n", finish_reason="optional")
    assert answer.finish_reason == "stop"
    with pytest.raises(ProviderFailure, match="neither a length nor chunks"):
        await stream(event("Hello"), headers={}, finish_reason="optional")


async def test_events_that_end_with_one_newline_name_their_switch():
    events = [event(text, reason, end=b"\n") for text, reason in (("Hel", None), ("lo", "stop"))]
    for after in ((), (b"data: [DONE]\n",), (b"\n",), (0.5,)):
        with pytest.raises(ProviderFailure) as caught:
            await stream(*events, *after)
        assert str(caught.value).endswith(HINT)
    answer, reply = await stream(*events, b"data: [DONE]\n", event_end="newline")
    assert (answer.finish_reason, reply.text) == ("stop", "Hello")


async def test_half_a_character_at_the_end_is_not_lost():
    half = b'data: {"choices":[{"delta":{"content":"a\\ud83d"},"finish_reason":"stop"}]}\n\n'
    assert (await stream(half))[1].text == "a\ufffd"


async def test_a_stream_in_the_place_of_a_whole_answer_is_put_together():
    answer = await whole(event("Hel"), event("lo", "stop"), b"data: [DONE]\n\n")
    assert answer.response is not None
    assert json.loads(bytes(answer.response))["choices"][0]["message"]["content"] == "Hello"
    with pytest.raises(ProviderFailure) as caught:
        await whole(event("Hel"), b"data: [DONE]\n\n")
    assert caught.value.kind == "broken_stream"


async def test_a_whole_answer_passes_as_it_came():
    answer = await whole(BODY)
    assert answer.response is not None
    assert bytes(answer.response) == BODY
    assert answer.message_bytes < len(BODY)
