"""One call, from the provider's bytes to the verdict on its end, without a network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from penstock.runtime.config.catalogue import StreamFormat, Timeouts
from services.worker.execution.delta_sink import DeltaSink
from services.worker.execution.provider_call import Answer, Call, Progress, make_call
from services.worker.providers.errors.failures import ProviderFailure
from tests.unit.worker.worker_parts import AmpleRoom

CHUNKED = {"Transfer-Encoding": "chunked"}
HINT = "; if this provider ends its events with one newline, set stream: {event_end: newline} for it in the catalogue"


class Response:
    status = 200

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

    def redact_keys(self, _: ProviderFailure) -> None:
        return


class Reply(AmpleRoom):
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


async def written_of_failure(*pieces: bytes | float) -> int:
    """Bytes of the model's text that are charged for a call that does not stream and fails."""
    progress = Progress()
    with pytest.raises(ProviderFailure):
        await _call(pieces, None, CHUNKED, {}, progress)
    return progress.content_bytes


async def _call(
    pieces: tuple[bytes | float, ...],
    sink: DeltaSink | None,
    headers: Mapping[str, str],
    switches: dict[str, Any],
    progress: Progress | None = None,
) -> Answer:
    body = json.dumps({"messages": [], "n": switches.pop("n", None)}).encode()
    provider: Any = Endpoint(list(pieces), headers, **switches)
    timeouts = Timeouts(first_token_s=0.2, between_tokens_s=0.2, non_streaming_s=1.0)
    return await make_call(Call(provider, "KEY", body, timeouts, "a.1"), sink, progress or Progress())


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


async def test_d6_a_stream_without_done_is_complete_with_finished_choices():
    for headers in (CHUNKED, {"content-length": "200"}, {}):
        answer, reply = await stream(event("Hel"), event("lo", "stop"), headers=headers)
        assert (answer.finish_reason, reply.text) == ("stop", "Hello")
    with pytest.raises(ProviderFailure, match=r"set stream: \{done: optional\}") as caught:
        await stream(event("Hello", "stop"), done="required")
    assert caught.value.kind == "broken_stream"


@pytest.mark.parametrize("coding", ["identity", "gzip", "xchunked", "chunked, gzip", ""])
@pytest.mark.parametrize("length", [{}, {"Content-Length": "200"}])
async def test_d6_only_the_last_coding_chunked_declares_the_end_of_a_body(coding, length):
    sent = event("Hel", "stop")
    with pytest.raises(ProviderFailure, match="nothing else proves its end") as caught:
        await stream(sent, headers={"Transfer-Encoding": coding, **length}, finish_reason="every")
    assert caught.value.kind == "broken_stream"
    for last in ("chunked", "gzip, Chunked", "gzip ,chunked "):
        answer, _ = await stream(sent, headers={"transfer-encoding": last}, finish_reason="every")
        assert answer.finish_reason == "stop"


async def test_d6_the_last_event_may_lack_its_final_newline():
    answer, reply = await stream(event("Hel"), event("lo", "stop", end=b""))
    assert (answer.finish_reason, reply.text) == ("stop", "Hello")


async def test_one_json_body_instead_of_a_stream_is_an_answer():
    answer, reply = await stream(BODY[:50], 0.5, BODY[50:])  # longer than the first token may take
    assert (answer.finish_reason, answer.model, reply.text) == ("tool_calls", "m", "Hello")
    assert [choice["delta"]["tool_calls"] for choice in reply.choices] == [[CALL]]
    assert (answer.counted.input_tokens, answer.counted.output_tokens) == (3, 2)
    for cut in (BODY[:-1], BODY[:50]):
        with pytest.raises(ProviderFailure) as caught:
            await stream(cut)
        assert caught.value.kind == "broken_stream"
    with pytest.raises(ProviderFailure, match="no complete answer within 1 s"):
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
async def test_an_error_instead_of_a_stream_is_an_error(said):
    with pytest.raises(ProviderFailure, match="overloaded") as caught:
        await stream(said)
    assert caught.value.error is not None


@pytest.mark.parametrize(
    ("sent", "reported"),
    [
        *((reason, reason) for reason in ("stop", "tool_calls", "STOP", "end_turn", "max_tokens", "eos")),
        ("content_filter: RECITATION", "content_filter"),
        *((reason, "other") for reason in ("error sk-Secret0a1b2c3d4e5f", "stop 2", "x" * 25, "a b c d e")),
    ],
)
async def test_a_finish_reason_that_is_not_a_few_words_becomes_other(sent: str, reported: str) -> None:
    answer, _ = await stream(event("Hello"), event(None, sent), b"data: [DONE]\n\n", headers=CHUNKED)
    assert answer.finish_reason == reported


async def test_d6_a_finish_reason_on_every_chunk_does_not_prove_the_end():
    pieces = event("Hel", "stop"), event("lo", "stop")
    with pytest.raises(ProviderFailure, match=r"set stream: \{finish_reason: every\}"):
        await stream(*pieces, b"data: [DONE]\n\n")
    answer, reply = await stream(*pieces, b"data: [DONE]\n\n", headers={}, finish_reason="every")
    assert (answer.finish_reason, reply.text) == ("stop", "Hello")
    assert (await stream(*pieces, finish_reason="every"))[1].text == "Hello"
    with pytest.raises(ProviderFailure, match="neither a length nor chunks"):
        await stream(*pieces, headers={}, finish_reason="every")


async def test_d6_without_finish_reason_the_end_must_be_proved():
    with pytest.raises(ProviderFailure, match=r"set stream: \{finish_reason: optional\}"):
        await stream(event("Hello"), b"data: [DONE]\n\n")
    answer, _ = await stream(event("Hello"), b"data: [DONE]\n\n", finish_reason="optional")
    assert answer.finish_reason == "stop"
    with pytest.raises(ProviderFailure, match="neither a length nor chunks"):
        await stream(event("Hello"), headers={}, finish_reason="optional")


async def test_events_ending_with_one_newline_name_the_setting_for_them():
    events = [event(text, reason, end=b"\n") for text, reason in (("Hel", None), ("lo", "stop"))]
    for after in ((), (b"data: [DONE]\n",), (b"\n",), (0.5,)):
        with pytest.raises(ProviderFailure) as caught:
            await stream(*events, *after)
        assert str(caught.value).endswith(HINT)
    answer, reply = await stream(*events, b"data: [DONE]\n", event_end="newline")
    assert (answer.finish_reason, reply.text) == ("stop", "Hello")


async def test_half_a_character_at_the_end_is_reported():
    half = b'data: {"choices":[{"delta":{"content":"a\\ud83d"},"finish_reason":"stop"}]}\n\n'
    assert (await stream(half))[1].text == "a\ufffd"


async def test_a_stream_instead_of_one_body_is_joined():
    answer = await whole(event("Hel"), event("lo", "stop"), b"data: [DONE]\n\n")
    assert answer.response is not None
    assert json.loads(bytes(answer.response))["choices"][0]["message"]["content"] == "Hello"
    with pytest.raises(ProviderFailure) as caught:
        await whole(event("Hel"), b"data: [DONE]\n\n")
    assert caught.value.kind == "broken_stream"


async def test_one_body_is_passed_on_unchanged():
    answer = await whole(BODY)
    assert answer.response is not None
    assert bytes(answer.response) == BODY
    assert answer.message_bytes < len(BODY)


def of_choice(index: int, text: str | None, finish_reason: str | None = None) -> bytes:
    choice = {"index": index, "delta": {"content": text} if text else {}, "finish_reason": finish_reason}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


ALL = tuple(of_choice(index, text, "stop") for index, text in enumerate("abc"))
DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize("headers", [CHUNKED, {}], ids=["framed", "until closed"])
@pytest.mark.parametrize("done", [(), (DONE,)], ids=["", "done"])
async def test_d6_some_but_not_all_choices_are_not_an_answer(headers, done):
    answer, _ = await stream(*ALL, *done, headers=headers, n=3)
    assert answer.finish_reason == "stop"
    for sent in (ALL[:2], ALL[1:]):
        with pytest.raises(ProviderFailure, match="2 of the 3 requested choices") as caught:
            await stream(*sent, *done, headers=headers, n=3)
        assert caught.value.kind == "broken_stream"


async def test_one_choice_of_several_is_an_answer_with_a_proved_end():
    """A provider that does not know `n` answers with one choice."""
    for proof in ({"headers": CHUNKED}, {"headers": {"Content-Length": "9"}}):
        assert (await stream(ALL[0], n=3, **proof))[1].text == "a"
    assert (await stream(ALL[0], DONE, n=3, headers={}))[1].text == "a"
    with pytest.raises(ProviderFailure, match="1 of the 3 requested choices"):
        await stream(ALL[0], n=3, headers={})


async def test_one_body_has_all_choices_or_one():
    def body(count: int) -> bytes:
        choice = json.loads(BODY)["choices"][0]
        return json.dumps({"choices": [{**choice, "index": index} for index in range(count)]}).encode()

    for count in (1, 3, 4):
        await whole(body(count), n=3)
        await stream(body(count), n=3)
    with pytest.raises(ProviderFailure, match="2 of the 3 requested choices"):
        await whole(body(2), n=3)
    with pytest.raises(ProviderFailure, match="2 of the 3 requested choices"):
        await stream(body(2), n=3)


@pytest.mark.parametrize("n", [None, 1, 0, -1, "3", [], 1e999, 1.0])
async def test_an_invalid_number_of_choices_means_one(n):
    assert (await stream(ALL[0], n=n))[1].text == "a"


async def test_a_single_choice_becomes_choice_0():
    answer, reply = await stream(of_choice(1, "Hel"), of_choice(1, "lo"), of_choice(1, None, "length"))
    assert (answer.finish_reason, reply.text, reply.choices) == ("length", "Hello", [])
    call = {"choices": [{"index": 1, "delta": {"tool_calls": [CALL]}, "finish_reason": "tool_calls"}]}
    _, reply = await stream(b"data: " + json.dumps(call).encode() + b"\n\n")
    assert [choice["index"] for choice in reply.choices] == [0]


async def test_a_body_without_a_message_is_not_an_answer():
    body = b'{"choices":[{"index":0,"message":null,"finish_reason":"stop"}]}'
    for asked in (whole, stream):
        with pytest.raises(ProviderFailure) as caught:
            await asked(body)
        assert caught.value.kind == "malformed"


NO_ERRORS = (
    {"message": "", "type": "", "param": "", "code": 0},
    {"code": 0, "message": "success"},
    {"message": None, "code": "200"},
    {"code": "OK", "message": "", "retryable": False},
)


@pytest.mark.parametrize("error", NO_ERRORS)
async def test_an_error_field_that_means_success_is_ignored(error):
    beside = json.dumps({**json.loads(BODY), "error": error}).encode()
    assert (await whole(beside)).finish_reason == "tool_calls"
    answer, reply = await stream(event("Hello", "stop", error=error), event(None, error=error))
    assert (answer.finish_reason, reply.text) == ("stop", "Hello")


@pytest.mark.parametrize("error", [{"code": 0, "message": "overloaded"}, {"code": 500, "message": ""}, "no"])
async def test_an_error_beside_an_answer_is_an_error(error):
    with pytest.raises(ProviderFailure):
        await stream(event("Hello", "stop", error=error))


@pytest.mark.parametrize(
    "stray",
    [
        *(b"event: close\ndata: bye\n\n", b"data: [done]\n\n", b'data: "[DONE]"\n\n', b"data: DONE\n\n"),
        *(b"data: ping\n\n", b"data: : keepalive\n\n", b"[done]\n\n", b"event: end\ndata\n\n"),
    ],
)
async def test_text_after_the_end_of_the_stream_is_ignored(stray):
    for end in ((), (DONE,)):
        answer, reply = await stream(event("Hello"), event(None, "stop"), stray, *end)
        assert (answer.finish_reason, reply.text) == ("stop", "Hello")


async def test_text_before_the_end_is_malformed_except_keep_alives():
    for alive in (b"data: ping\n\n", b"data: : keepalive\n\n", b"event: ping\ndata: 7\n\n"):
        assert (await stream(event("Hel"), alive, event("lo", "stop")))[1].text == "Hello"
    for damage in (b"data: bye\n\n", b"data: [done]\n\n", b"eata: x\n\n", b"\0\n\n"):
        with pytest.raises(ProviderFailure) as caught:
            await stream(event("Hel"), damage, event("lo", "stop"))
        assert caught.value.kind == "malformed"
    with pytest.raises(ProviderFailure):
        await stream(event("Hello", "stop"), damage, finish_reason="every")


@pytest.mark.parametrize(
    "chunk",
    [
        b'{"choics":[{"index":0,"delta":{"content":"x"}}]}',
        b'{"choices":[{"index":0,"dlta":{"content":"x"},"finish_reason":null}]}',
        b'{"type":"content_block_delta","delta":{"type":"text_delta","text":"x"}}',
    ],
)
async def test_text_in_a_field_of_another_type_is_malformed(chunk):
    with pytest.raises(ProviderFailure) as caught:
        await stream(b"data: " + chunk + b"\n\n", event("lo", "stop"), DONE)
    assert caught.value.kind == "malformed"


async def test_a_body_without_finish_reason_names_the_setting_for_it():
    with pytest.raises(ProviderFailure, match=r"finish_reason: optional"):
        await whole(b'{"choices":[{"index":0,"message":{"content":"a"},"finish_reason":null}]}')


@pytest.mark.parametrize(
    "no_answer",
    [
        b"<html>" + b"<p>maintenance</p>" * 100,
        b'{"error": {"message": "%s"}}' % (b"x" * 1000),
        b"busy",
        event(None),
        b"",
    ],
)
async def test_f1_a_whole_reply_that_is_no_answer_has_no_output(no_answer: bytes) -> None:
    assert await written_of_failure(no_answer) == 0


async def test_f2_the_text_of_a_cut_answer_is_its_output_and_its_framing_is_not() -> None:
    for pieces in ((event("ab") + event("cd"), b"data: [DONE]\n\n"), (event("ab"), event("cd"), b"data: {")):
        assert await written_of_failure(*pieces) == 4
    begins = BODY.index(b'"message"') + len(b'"message"')
    assert await written_of_failure(BODY[:-60]) == len(BODY) - 60 - begins


async def test_f2_what_came_before_the_time_limit_is_output_too() -> None:
    assert await written_of_failure(event("abcd"), 2.0) == 4
