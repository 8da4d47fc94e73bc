"""D6, A9: a stream is judged by what it adds. What is merely different is read; what is cut or contradicts is damage.

The chunks are those that public issues and documentation show (looked up in November 2026); each says where it is from.
"""

from __future__ import annotations

import gzip
import itertools
import json
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fault.providers.table import STREAMED, WHOLE, Both, Outcome, Row, Table, check, params, ran
from tests.fault.providers.wire import (
    FULL,
    RESET,
    SSE,
    Answer,
    chunked,
    completion,
    data,
    delta,
    error,
    events,
    headed,
    sized,
    stream,
    until_closed,
)
from tests.harness.hostile import DONE, End

USAGE = {"choices": [], "usage": FULL}
SAFE = {"hate": {"filtered": False, "severity": "safe"}, "violence": {"filtered": False, "severity": "safe"}}
LOGPROBS = {
    "content": [{"token": "Hello", "logprob": -0.1, "bytes": [72], "top_logprobs": []}],
    "refusal": None,
}
STOP = delta(None, "stop")
HELLO = (delta("Hello "), delta("world"), STOP)
PLAIN = (delta(role="assistant", content=""), delta("Hello"), delta(" world"), STOP, USAGE)

DONE_REQUIRED, EVERY, NO_REASON, NEWLINE = "creative", "reasoning", "fast", "safety"
"""Lanes whose provider has a stream format of its own."""


def good(name: str, *chunks: object, done: bool = True, **more: Any) -> Row:
    """A stream that is merely different: one call, the text, no restart, no effect on others."""
    return Row(name=name, modes=STREAMED, script={"first": [stream(*chunks, done=done)]}, **more)


def sent(name: str, answer: Answer, **more: Any) -> Row:
    """The same with all bytes given."""
    return Row(name=name, modes=STREAMED, script={"first": [answer]}, **more)


def damaged(
    name: str, answer: Answer, *, restarts: int = 1, calls: int | tuple[int, int] = 1, **more: Any
) -> Row:
    """What is never shown as whole: the next model answers, and the reader forgets what came before."""
    return Row(
        name=name,
        modes=STREAMED,
        script={"first": [answer]},
        text="from second",
        model="second",
        calls={"first": calls, "second": 1},
        restarts=restarts,
        **more,
    )


def every_beside(name: str, **top: Any) -> Row:
    return good(name, delta("Hello ", top=top), delta("world", top=top), delta(None, "stop", top=top), USAGE)


def every_choice(name: str, more: Any = None, **choice: Any) -> Row:
    return good(name, delta("Hello ", choice=choice), delta("world", choice=choice), STOP, USAGE, more=more)


def every_delta(name: str, more: Any = None, **beside: Any) -> Row:
    return good(name, delta("Hello ", **beside), delta("world", **beside), STOP, USAGE, more=more)


TEXT_BESIDE_OTHER_KEYS = (
    # Azure OpenAI, content filtering: annotations beside each piece, and a first chunk without choices.
    good(
        "azure annotations",
        {
            "choices": [],
            "created": 0,
            "id": "",
            "model": "",
            "object": "",
            "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": SAFE}],
        },
        delta(
            role="assistant",
            content="",
            refusal=None,
            choice={"content_filter_results": {}, "logprobs": None},
        ),
        delta("Hello ", choice={"content_filter_results": SAFE}),
        delta(
            "world", choice={"content_filter_results": SAFE, "content_filter_offsets": {"check_offset": 1}}
        ),
        delta(None, "stop", choice={"content_filter_results": {}}),
    ),
    # Azure, asynchronous filter: a choice with annotations and neither delta nor finish reason.
    good(
        "azure asynchronous filter",
        delta("Hello world"),
        {
            "choices": [
                {"index": 0, "content_filter_results": SAFE, "content_filter_offsets": {"end_offset": 9}}
            ]
        },
        STOP,
    ),
    # OpenRouter (openai-go issue 227): native_finish_reason, provider, reasoning_details, comments between events.
    good(
        "openrouter",
        b": OPENROUTER PROCESSING\n\n",
        delta(
            role="assistant",
            content="",
            choice={"native_finish_reason": None, "logprobs": None},
            top={"provider": "Azure", "system_fingerprint": "fp_1"},
        ),
        b": OPENROUTER PROCESSING\n\n",
        delta("Hello ", reasoning=None, reasoning_details=[], choice={"native_finish_reason": None}),
        delta("world", reasoning=None, reasoning_details=[], choice={"native_finish_reason": None}),
        delta("", "stop", choice={"native_finish_reason": "completed"}),
        {**USAGE, "provider": "Azure"},
    ),
    every_delta("annotations and refusal empty", annotations=[], refusal="", audio=None, function_call=None),
    every_delta("tool_calls empty", tool_calls=[], role="assistant"),
    every_delta("reasoning null and empty", reasoning_content=None, reasoning=""),
    every_delta("a key of next year", something_new={"a": [1, {"b": None}]}),
    every_choice("logprobs", more={"logprobs": [LOGPROBS, LOGPROBS]}, logprobs=LOGPROBS),
    every_choice("vllm", stop_reason=None, token_ids=None, matched_stop=None, routed_experts=None),
    every_choice("sglang", matched_stop=None, hidden_states=None),
    every_choice("fireworks", raw_output=None, token_ids=[], prompt_logprobs=None),
    every_choice("together", text="x", seed=5, logprobs=None),
    every_beside("vllm prompt ids", prompt_token_ids=None, prompt_logprobs=None, kv_transfer_params=None),
    every_beside("xai", citations=[], system_fingerprint="fp_2", usage=FULL),
    every_beside("perplexity", citations=["https://example.org"], search_results=[], usage=FULL),
    every_beside("llama.cpp timings", timings={"predicted_n": 3, "predicted_per_second": 80.1}),
    every_beside("groq", x_groq={"id": "req_1"}, service_tier="on_demand", system_fingerprint="fp_3"),
    every_beside("mistral padding", p="abcdefghijkl", obfuscation="xyz"),
    # OpenAI's server-side tools and Gemini's signatures stand as extra_content in the delta.
    every_delta("gemini extra content", extra_content={"google": {"thought_signature": "sig"}}),
    good(  # Ollama: role on each, and the finish reason beside the last, empty piece
        "ollama",
        delta(role="assistant", content="Hello "),
        delta(role="assistant", content="world"),
        delta(role="assistant", content="", finish_reason="stop"),
    ),
    good(  # Gemini: text and finish reason in one chunk, the index of the first choice left out
        "gemini last chunk with text",
        delta(role="assistant", content="Hello ", choice={"finish_reason": None}),
        {"choices": [{"delta": {"content": "world", "role": "assistant"}, "finish_reason": "stop"}]},
    ),
    good("no finish reason key at all", {"choices": [{"delta": {"content": "Hello world"}}]}, STOP),
    good("index is null", {"choices": [{"index": None, "delta": {"content": "Hello world"}}]}, STOP),
    good("finish reason empty on the way", delta("Hello ", ""), delta("world", ""), STOP),
    good(  # vLLM issue 2266, and gateways that add an end of their own
        "two ends that agree", delta("Hello world"), STOP, delta("", "stop", top={"usage": FULL})
    ),
    good(  # what adds nothing after the end contradicts nothing
        "empty pieces after the end", delta("Hello world"), STOP, delta(""), delta(None, role="assistant")
    ),
    good(
        "delta is null",
        delta("Hello world"),
        {"choices": [{"index": 0, "delta": None, "finish_reason": "stop"}]},
    ),
    good(
        "delta is missing at the end",
        delta("Hello world"),
        {"choices": [{"index": 0, "finish_reason": "stop"}]},
    ),
    # Gateways to Gemini and Anthropic end with a chunk of their own after the tool call.
    good("tool_calls and then stop", delta("Hello world"), delta(None, "tool_calls"), STOP),
    good("anthropic stop word", delta("Hello world"), delta(None, "end_turn")),
)

NOTHING_ADDED = (
    good("usage without choices", *HELLO, {"usage": FULL, "id": "c-1"}),
    good("choices null", {"choices": None, "usage": None}, *HELLO, {"choices": None, "usage": FULL}),
    good("data null", data("null"), *HELLO, data("null")),
    good("data empty", b"data: \n\n", b"data:\n\n", *HELLO, b"\n\n"),
    good("empty object", {}, *HELLO, {}),
    good("ping events", b'event: ping\ndata: {"type": "ping"}\n\n', *HELLO, b"event: ping\n\n"),
    good("keep-alive comments", b": keep-alive\n\n", b":\n\n", *HELLO, b": keep-alive\n\n"),  # DeepSeek
    good("ids and retry fields", b"id: 1\nretry: 3000\n\n", *HELLO, b"id: 2\n\n"),
    good("no space after data", *(data(chunk).replace(b"data: ", b"data:", 1) for chunk in HELLO)),
    good("CRLF", *(data(chunk, end="\r\n\r\n") for chunk in HELLO), b"data: [DONE]\r\n\r\n", done=False),
    good("lone CR", *(data(chunk, end="\r\r") for chunk in HELLO), b"data: [DONE]\r\r", done=False),
    good("byte order mark", b"\xef\xbb\xbf" + data(HELLO[0]), *HELLO[1:]),
    good(
        "an event over several data lines",
        *(
            b"data: " + json.dumps(chunk, indent=1).replace("\n", "\ndata: ").encode() + b"\n\n"
            for chunk in HELLO
        ),
    ),
    good(
        "an array of parts",
        delta([{"type": "text", "text": "Hello "}]),
        delta([{"type": "text", "text": "world"}]),
        STOP,
    ),
)

ENDS = (
    good("no DONE", *HELLO, done=False),
    good("no DONE, usage last", *HELLO, USAGE, done=False),
    sent("no DONE, sized", sized(b"".join(events(*HELLO, done=False)), content_type=SSE)),
    sent("no DONE, closed", until_closed(*events(*HELLO, done=False))),
    good("DONE without an end of line", *HELLO, b"data: [DONE]", done=False),
    good("DONE with spaces", *HELLO, b"data:   [DONE]  \n\n", done=False),
    good("DONE with one newline", *HELLO, b"data: [DONE]\n", done=False),
    good("DONE twice", *HELLO, DONE),
    good("the last event without its blank line", *events(*HELLO, done=False)[:-1],
         data(STOP, end=""), done=False),
    good("usage after DONE", *HELLO, DONE, USAGE, done=False),
    sent("reset after DONE", (*chunked(*events(*HELLO), ended=False), 0.1, End.RESET)),
    sent("not ended after DONE", chunked(*events(*HELLO), ended=False)),
    good("required and there", *HELLO, lane=DONE_REQUIRED),
    damaged("required and missing", stream(*HELLO, done=False), lane=DONE_REQUIRED),
    good("stop on every chunk", *(delta(text, "stop") for text in ("Hello ", "world", "")), lane=EVERY),
    good("stop on every chunk, no DONE", delta("Hello ", "stop"), delta("world", "stop"), done=False, lane=EVERY),
    damaged(
        "stop on every chunk, cut", chunked(*events(delta("Hello", "stop"), done=False), ended=False), lane=EVERY
    ),
    good("no finish reason, DONE", delta("Hello "), delta("world"), lane=NO_REASON),
    # llmcord issue 84: Gemini's finishReason beside a finish_reason that stays null.
    good("finishReason in camel case", delta("Hello world"), delta(None, choice={"finishReason": "stop"}), done=False,
         lane=NO_REASON),
    damaged("no finish reason, cut", chunked(*events(delta("Hello"), done=False), ended=False), lane=NO_REASON),
    sent("one newline between events", chunked(*(data(chunk, end="\n") for chunk in HELLO), b"data: [DONE]\n"),
         lane=NEWLINE),
    sent("blank lines where newlines are enough", stream(*HELLO), lane=NEWLINE),
)  # fmt: skip

MORE_THAN_TEXT = (
    # DeepSeek, vLLM, OpenRouter: reasoning before text, and both in one chunk.
    good("reasoning then text", delta(reasoning_content="Hm", content=None), delta("Hello ", reasoning_content=None),
         delta("world"), STOP, more={"reasoning_content": "Hm"}),
    good("reasoning and text in one chunk", delta("Hello ", reasoning_content="Hm"), delta("world"), STOP,
         more={"reasoning_content": "Hm"}),
    good("openrouter reasoning details", delta("", reasoning="Hm", reasoning_details=[
        {"type": "reasoning.text", "text": "Hm", "index": 0}]), *HELLO, more={"reasoning": "Hm"}),
    good("text and tool call in one chunk", delta("Hello world", tool_calls=[
        {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]),
        delta(None, "tool_calls")),
    good("finish reason with the tool call", delta("Hello world"), delta(None, "tool_calls", tool_calls=[
        {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}])),
    # Mistral's Magistral (RooCode issue 6842, n8n issue 37352): content is a list of parts.
    Row(name="magistral thinking", script={"first": [Both(
        stream(delta([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}], "closed": True}]),
               delta([{"type": "text", "text": "Hello "}]), delta("world"), STOP),
        completion([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]},
                    {"type": "text", "text": "Hello world"}]))]}),
    good("thinking and text in one list", delta([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]},
                                                 {"type": "text", "text": "Hello world"}]), STOP),
    # Mistral, citations: a reference between two texts.
    good("references between texts", delta([{"type": "text", "text": "Hello "}, {"type": "reference",
         "reference_ids": [1]}, {"type": "text", "text": "world"}]), STOP),
    good("refusal beside nothing", delta(None, refusal="No."), delta("Hello world"), STOP, more={"refusal": "No."}),
)  # fmt: skip

LETTERS = (
    good("both halves of a pair in one chunk", b'data: {"choices":[{"index":0,"delta":{"content":"\\ud83d\\ude00"}}]}\n\n',
         STOP, text="\U0001f600"),
    good("the halves of a pair in two chunks", b'data: {"choices":[{"index":0,"delta":{"content":"a\\ud83d"}}]}\n\n',
         b'data: {"choices":[{"index":0,"delta":{"content":"\\ude00b"}}]}\n\n', STOP, text="a\U0001f600b"),
    good("half a pair alone", b'data: {"choices":[{"index":0,"delta":{"content":"a\\ud83d"}}]}\n\n', delta("b"), STOP,
         text="a\ufffdb"),
    good("the other half alone", b'data: {"choices":[{"index":0,"delta":{"content":"\\udcafa"}}]}\n\n', STOP,
         text="\ufffda"),
    good("half a pair at the end", b'data: {"choices":[{"index":0,"delta":{"content":"a\\ud83d"}}]}\n\n', STOP,
         text="a\ufffd"),
    good("half a pair beside other keys", b'data: {"choices":[{"index":0,"delta":{"content":"a\\ud83d"},'
         b'"content_filter_results":{}}],"x":"\\udc00"}\n\n',
         b'data: {"choices":[{"index":0,"delta":{"content":"\\ude00"},"logprobs":null}]}\n\n', STOP,
         text="a\U0001f600"),
    Row(name="half a pair in a whole answer", modes=WHOLE, script={"first": [sized(
        b'{"choices":[{"index":0,"message":{"content":"a\\ud83d"},"finish_reason":"stop"}]}')]}, text="a\ufffd"),
    good("line separators in the text", delta("a\u2028b\u0085c\x0bd"), STOP, text="a\u2028b\u0085c\x0bd"),
    sent("a character split between chunks", chunked(*(bytes([byte]) for byte in b"".join(
        data(chunk).replace(b"\\u00fc", "ü".encode()) for chunk in (delta("Gr\u00fc\u00dfe"), STOP)) + DONE)),
        text="Gr\u00fc\u00dfe"),
)  # fmt: skip


def pieces(body: bytes, size: int) -> list[bytes]:
    return [body[begin : begin + size] for begin in range(0, len(body), size)]


def slowly(answer: Answer) -> Answer:
    """A packet for each part."""
    return tuple(itertools.chain.from_iterable((part, 0.001) for part in answer))


BODY = b"".join(events(*PLAIN))
JSON_OF_STREAM = json.dumps({"id": "c", "object": "chat.completion", "model": "m", "choices": [
    {"index": 0, "message": {"role": "assistant", "content": "Hello world"}, "finish_reason": "stop"}],
    "usage": FULL}).encode()  # fmt: skip
JSON_USAGE = {"input_tokens": 11, "output_tokens": 7}

TRANSPORT = (
    sent("all in one chunk", chunked(BODY)),
    sent("sized", sized(BODY, content_type=SSE)),
    sent("closed", until_closed(BODY)),
    sent("pieces of 3 bytes", chunked(*pieces(BODY, 3))),
    sent("packets of 17 bytes", slowly((headed("200 OK", SSE, "Connection: close"), *pieces(BODY, 17)))),
    sent("no content type", sized(BODY, content_type="application/octet-stream")),
    sent("json as the content type of a stream", sized(BODY, content_type="application/json")),
    sent("gzip", chunked(gzip.compress(BODY), more=("Content-Encoding: gzip",))),
    sent("deflate", sized(zlib.compress(BODY), "Content-Encoding: deflate", content_type=SSE)),
    sent("identity", sized(BODY, "Content-Encoding: identity", content_type=SSE)),
    Row(name="gzip, whole", modes=WHOLE, script={"first": [
        sized(gzip.compress(JSON_OF_STREAM), "Content-Encoding: gzip")]}),
    Row(name="gzip, an error", script={"first": [sized(
        gzip.compress(b'{"error":{"message":"no such tool"}}'), "Content-Encoding: gzip", status="400 Bad Request")]},
        model="second", text="from second", calls={"first": 1, "second": 1}),
    Row(name="headers of 48 KB", script={"first": [Both(
        chunked(BODY, more=("X-Trace: " + "t" * 48_000,)), sized(JSON_OF_STREAM, "X-Trace: " + "t" * 48_000))]}),
    Row(name="60 cookies of 1 KB", script={"first": [Both(
        chunked(BODY, more=tuple(f"Set-Cookie: c{n}={'v' * 1000}" for n in range(60))),
        sized(JSON_OF_STREAM, *(f"Set-Cookie: c{n}={'v' * 1000}" for n in range(60))))]}),
    sent("100 Continue before the answer", (b"HTTP/1.1 100 Continue\r\n\r\n", *stream(*PLAIN))),
)  # fmt: skip

JSON_WHERE_A_STREAM_WAS_ASKED = (
    sent("one JSON body", sized(JSON_OF_STREAM), usage=JSON_USAGE, estimated=False),
    sent("one JSON body, chunked", chunked(JSON_OF_STREAM, content_type="application/json"), usage=JSON_USAGE),
    sent("one JSON body over lines", sized(json.dumps(json.loads(JSON_OF_STREAM), indent=2).encode())),
    sent("one JSON body under the type of a stream", sized(JSON_OF_STREAM, content_type=SSE)),
    Row(name="an error object", modes=STREAMED, script={"first": [
        sized(b'{"error":{"message":"Upstream gave up","code":502}}')]}, model="second", text="from second",
        calls={"first": (1, 2), "second": 1}),
    Row(name="half a JSON body", modes=STREAMED, script={"first": [sized(JSON_OF_STREAM[:60])]}, model="second",
        text="from second", calls={"first": (1, 2), "second": 1}),
)  # fmt: skip

DAMAGE = (
    damaged("cut in the text", chunked(*events(delta("Hello"), delta(" wor"), done=False), ended=False)),
    damaged("cut before the finish reason, clean", stream(delta("Hello"), delta(" wor"), done=False)),
    damaged("cut in an event", chunked(*events(delta("Hello"), done=False), data(delta("world"))[:30], ended=False)),
    damaged("finished, and the body not ended", chunked(*events(*HELLO, done=False), ended=False)),
    damaged("finished, and then a reset", (*chunked(*events(*HELLO, done=False), ended=False), 0.1, End.RESET)),
    damaged("shorter than its length", (headed("200 OK", SSE, "Content-Length: 90000"), *events(*HELLO, done=False))),
    damaged("reset in the text", (*chunked(*events(delta("Hello"), done=False), ended=False), 0.1, End.RESET)),
    damaged("text after the end", stream(delta("Hello"), STOP, delta(" and more"))),
    damaged("a chunk that is no JSON", stream(delta("Hello"), b'data: {"choices":[{"index":0,\n\n', STOP)),
    damaged("a page of HTML", stream(delta("Hello"), b"data: <html>502 Bad Gateway</html>\n\n")),
    damaged("bytes that are no UTF-8", stream(delta("Hello"), b'data: {"choices":[{"delta":{"content":"\xff\xfe"}}]}\n\n',
                                              STOP)),
    damaged("an error between pieces", stream(delta("Hello"), {"error": {"message": "Overloaded", "code": 503}})),
    # OpenRouter, errors in the stream: beside choices, with finish_reason "error" (local-operator PR 223).
    damaged("openrouter error chunk", stream(delta("Hello"), delta("", "error", top={
        "error": {"code": 502, "message": "Provider disconnected"}, "provider": "x"}))),
    damaged("finish reason error alone", stream(delta("Hello"), delta(None, "error"))),  # hax PR 15
    # LM Studio and SGLang: an event named error.
    damaged("an event named error", stream(delta("Hello"), b'event: error\ndata: {"error":{"message":"Model crashed"}}\n\n')),
    damaged("an error as text", stream(delta("Hello"), {"error": "CUDA out of memory"})),
    damaged("an error at the top level", stream(delta("Hello"), {"object": "error", "message": "EngineDeadError",
                                                                 "type": "InternalServerError", "code": 500})),
    damaged("stalled in the text", (*chunked(*events(delta("Hello"), done=False), ended=False), 1.6)),
    damaged("gzip that breaks off", chunked(gzip.compress(BODY)[:-30], more=("Content-Encoding: gzip",)),
            restarts=0, calls=(1, 2)),
    Row(name="a whole answer shorter than its length", modes=WHOLE, script={"first": [
        (headed("200 OK", "application/json", "Content-Length: 9000"), JSON_OF_STREAM)]},
        model="second", text="from second", calls={"first": (1, 2), "second": 1}, quiet=True),
    Row(name="an empty stream", modes=STREAMED, script={"first": [chunked(b"")]},
        model="second", text="from second", calls={"first": (1, 2), "second": 1}),
    Row(name="DONE alone", modes=STREAMED, script={"first": [stream()]},
        model="second", text="from second", calls={"first": (1, 2), "second": 1}),
)  # fmt: skip

BEFORE_ANY_OUTPUT = (
    # One failure before any output: the same model once more (retry.same_model: 1).
    Row(name="reset before any output", script={"first": [RESET, Both(stream(*HELLO), completion())]},
        calls={"first": 2}),
    Row(name="one 500", script={"first": [error(500, {"error": {"message": "oops"}}), Both(stream(*HELLO), completion())]},
        calls={"first": 2}),
    Row(name="one 503 of HTML", script={"first": [
        error(503, "<html><body>upstream connect error</body></html>"), Both(stream(*HELLO), completion())]},
        calls={"first": 2}),
    Row(name="one 529", script={"first": [error(529, {"type": "error", "error": {  # Anthropic
        "type": "overloaded_error", "message": "Overloaded"}}), Both(stream(*HELLO), completion())]},
        calls={"first": 2}),
    Row(name="500 each time", script={"first": [error(500, {"error": {"message": "oops"}})]},
        model="second", text="from second", calls={"first": 2, "second": 1}),
    Row(name="reset each time", script={"first": [RESET]}, model="second", text="from second",
        calls={"first": 2, "second": 1}),
)  # fmt: skip

ROWS = (
    *TEXT_BESIDE_OTHER_KEYS,
    *NOTHING_ADDED,
    *ENDS,
    *MORE_THAN_TEXT,
    *LETTERS,
    *TRANSPORT,
    *JSON_WHERE_A_STREAM_WAS_ASKED,
    *DAMAGE,
    *BEFORE_ANY_OUTPUT,
)
TABLE = Table(
    rows=ROWS,
    providers={
        DONE_REQUIRED: {"stream": {"done": "required"}},
        EVERY: {"stream": {"finish_reason": "every"}},
        NO_REASON: {"stream": {"finish_reason": "optional"}},
        NEWLINE: {"stream": {"event_end": "newline"}},
    },
    sections={"breaker": {"failures": 10_000}},
)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    with ran(TABLE, tmp_path_factory.mktemp("streams")) as done:
        yield done


@pytest.mark.parametrize("name", params(TABLE))
def test_d6_a_stream_is_whole_or_damaged_by_what_it_adds(outcomes: dict[str, Outcome], name: str) -> None:
    check(outcomes[name])
