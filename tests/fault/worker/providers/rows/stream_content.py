"""Unusual but complete streams: text beside other keys, chunks without content, more than text.

The chunks are taken from public issues and documentation, each with its source (November 2026).
"""

from __future__ import annotations

import json
from typing import Any

from tests.fault.worker.providers.rows.stream_rows import HELLO, STOP, USAGE, accepted, accepted_bytes
from tests.fault.worker.providers.rows.table import WHOLE, Both, Row
from tests.fault.worker.providers.rows.wire import (
    FULL,
    chunked,
    completion,
    data,
    delta,
    sized,
    stream,
)
from tests.harness.providers.scripted_provider import DONE

SAFE = {"hate": {"filtered": False, "severity": "safe"}, "violence": {"filtered": False, "severity": "safe"}}


LOGPROBS = {
    "content": [{"token": "Hello", "logprob": -0.1, "bytes": [72], "top_logprobs": []}],
    "refusal": None,
}


def every_beside(name: str, **top: Any) -> Row:
    return accepted(
        name, delta("Hello ", top=top), delta("world", top=top), delta(None, "stop", top=top), USAGE
    )


def every_choice(name: str, more: Any = None, **choice: Any) -> Row:
    return accepted(
        name, delta("Hello ", choice=choice), delta("world", choice=choice), STOP, USAGE, more=more
    )


def every_delta(name: str, more: Any = None, **beside: Any) -> Row:
    return accepted(name, delta("Hello ", **beside), delta("world", **beside), STOP, USAGE, more=more)


TEXT_BESIDE_OTHER_KEYS = (
    # Azure OpenAI, content filtering: annotations beside each delta, and a first chunk without choices.
    accepted(
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
    accepted(
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
    accepted(
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
    every_delta("an unknown key", something_new={"a": [1, {"b": None}]}),
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
    # OpenAI's server-side tools and Gemini's signatures are sent as extra_content in the delta.
    every_delta("gemini extra content", extra_content={"google": {"thought_signature": "sig"}}),
    accepted(  # Ollama: a role in each delta, and the finish reason beside the last, empty one
        "ollama",
        delta(role="assistant", content="Hello "),
        delta(role="assistant", content="world"),
        delta(role="assistant", content="", finish_reason="stop"),
    ),
    accepted(  # Gemini: text and finish reason in one chunk, the index of the first choice left out
        "gemini, text in the last chunk",
        delta(role="assistant", content="Hello ", choice={"finish_reason": None}),
        {"choices": [{"delta": {"content": "world", "role": "assistant"}, "finish_reason": "stop"}]},
    ),
    accepted("no finish_reason key", {"choices": [{"delta": {"content": "Hello world"}}]}, STOP),
    accepted("index is null", {"choices": [{"index": None, "delta": {"content": "Hello world"}}]}, STOP),
    accepted("finish reason empty before the end", delta("Hello ", ""), delta("world", ""), STOP),
    accepted(  # vLLM issue 2266, and gateways that add another end
        "two equal finish reasons", delta("Hello world"), STOP, delta("", "stop", top={"usage": FULL})
    ),
    accepted(  # chunks without content may follow the end
        "empty deltas after the end", delta("Hello world"), STOP, delta(""), delta(None, role="assistant")
    ),
    accepted(
        "delta is null",
        delta("Hello world"),
        {"choices": [{"index": 0, "delta": None, "finish_reason": "stop"}]},
    ),
    accepted(
        "delta is missing at the end",
        delta("Hello world"),
        {"choices": [{"index": 0, "finish_reason": "stop"}]},
    ),
    # Gateways to Gemini and Anthropic send another end after the tool call.
    accepted("tool_calls and then stop", delta("Hello world"), delta(None, "tool_calls"), STOP),
    accepted("anthropic finish reason", delta("Hello world"), delta(None, "end_turn")),
)


NO_CONTENT = (
    accepted("usage without choices", *HELLO, {"usage": FULL, "id": "c-1"}),
    accepted("choices null", {"choices": None, "usage": None}, *HELLO, {"choices": None, "usage": FULL}),
    accepted("data null", data("null"), *HELLO, data("null")),
    accepted("data empty", b"data: \n\n", b"data:\n\n", *HELLO, b"\n\n"),
    accepted("empty object", {}, *HELLO, {}),
    accepted("ping events", b'event: ping\ndata: {"type": "ping"}\n\n', *HELLO, b"event: ping\n\n"),
    accepted("keep-alive comments", b": keep-alive\n\n", b":\n\n", *HELLO, b": keep-alive\n\n"),  # DeepSeek
    accepted("ids and retry fields", b"id: 1\nretry: 3000\n\n", *HELLO, b"id: 2\n\n"),
    accepted("no space after data", *(data(chunk).replace(b"data: ", b"data:", 1) for chunk in HELLO)),
    accepted("CRLF", *(data(chunk, end="\r\n\r\n") for chunk in HELLO), b"data: [DONE]\r\n\r\n", done=False),
    accepted("lone CR", *(data(chunk, end="\r\r") for chunk in HELLO), b"data: [DONE]\r\r", done=False),
    accepted("byte order mark", b"\xef\xbb\xbf" + data(HELLO[0]), *HELLO[1:]),
    accepted(
        "an event over several data lines",
        *(
            b"data: " + json.dumps(chunk, indent=1).replace("\n", "\ndata: ").encode() + b"\n\n"
            for chunk in HELLO
        ),
    ),
    accepted(
        "an array of parts",
        delta([{"type": "text", "text": "Hello "}]),
        delta([{"type": "text", "text": "world"}]),
        STOP,
    ),
)


MORE_THAN_TEXT = (
    # DeepSeek, vLLM, OpenRouter: reasoning before text, and both in one chunk.
    accepted(
        "reasoning then text",
        delta(reasoning_content="Hm", content=None),
        delta("Hello ", reasoning_content=None),
        delta("world"),
        STOP,
        more={"reasoning_content": "Hm"},
    ),
    accepted(
        "reasoning and text in one chunk",
        delta("Hello ", reasoning_content="Hm"),
        delta("world"),
        STOP,
        more={"reasoning_content": "Hm"},
    ),
    accepted(
        "openrouter reasoning details",
        delta("", reasoning="Hm", reasoning_details=[{"type": "reasoning.text", "text": "Hm", "index": 0}]),
        *HELLO,
        more={"reasoning": "Hm"},
    ),
    accepted(
        "text and tool call in one chunk",
        delta(
            "Hello world",
            tool_calls=[
                {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ],
        ),
        delta(None, "tool_calls"),
    ),
    accepted(
        "finish reason with the tool call",
        delta("Hello world"),
        delta(
            None,
            "tool_calls",
            tool_calls=[
                {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ],
        ),
    ),
    # Mistral's Magistral (RooCode issue 6842, n8n issue 37352): content is a list of parts.
    Row(
        name="magistral thinking",
        script={
            "first": [
                Both(
                    stream(
                        delta(
                            [
                                {
                                    "type": "thinking",
                                    "thinking": [{"type": "text", "text": "Hm"}],
                                    "closed": True,
                                }
                            ]
                        ),
                        delta([{"type": "text", "text": "Hello "}]),
                        delta("world"),
                        STOP,
                    ),
                    completion(
                        [
                            {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]},
                            {"type": "text", "text": "Hello world"},
                        ]
                    ),
                )
            ]
        },
    ),
    accepted(
        "thinking and text in one list",
        delta(
            [
                {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]},
                {"type": "text", "text": "Hello world"},
            ]
        ),
        STOP,
    ),
    # Mistral, citations: a reference between two texts.
    accepted(
        "references between texts",
        delta(
            [
                {"type": "text", "text": "Hello "},
                {"type": "reference", "reference_ids": [1]},
                {"type": "text", "text": "world"},
            ]
        ),
        STOP,
    ),
    accepted(
        "refusal without content",
        delta(None, refusal="No."),
        delta("Hello world"),
        STOP,
        more={"refusal": "No."},
    ),
)


CHARACTERS = (
    accepted(
        "a surrogate pair in one chunk",
        b'data: {"choices":[{"index":0,"delta":{"content":"\\ud83d\\ude00"}}]}\n\n',
        STOP,
        text="\U0001f600",
    ),
    accepted(
        "a surrogate pair in two chunks",
        b'data: {"choices":[{"index":0,"delta":{"content":"a\\ud83d"}}]}\n\n',
        b'data: {"choices":[{"index":0,"delta":{"content":"\\ude00b"}}]}\n\n',
        STOP,
        text="a\U0001f600b",
    ),
    accepted(
        "a high surrogate alone",
        b'data: {"choices":[{"index":0,"delta":{"content":"a\\ud83d"}}]}\n\n',
        delta("b"),
        STOP,
        text="a\ufffdb",
    ),
    accepted(
        "a low surrogate alone",
        b'data: {"choices":[{"index":0,"delta":{"content":"\\udcafa"}}]}\n\n',
        STOP,
        text="\ufffda",
    ),
    accepted(
        "a high surrogate at the end",
        b'data: {"choices":[{"index":0,"delta":{"content":"a\\ud83d"}}]}\n\n',
        STOP,
        text="a\ufffd",
    ),
    accepted(
        "a high surrogate beside other keys",
        b'data: {"choices":[{"index":0,"delta":{"content":"a\\ud83d"},'
        b'"content_filter_results":{}}],"x":"\\udc00"}\n\n',
        b'data: {"choices":[{"index":0,"delta":{"content":"\\ude00"},"logprobs":null}]}\n\n',
        STOP,
        text="a\U0001f600",
    ),
    Row(
        name="a high surrogate in a whole completion",
        modes=WHOLE,
        script={
            "first": [
                sized(b'{"choices":[{"index":0,"message":{"content":"a\\ud83d"},"finish_reason":"stop"}]}')
            ]
        },
        text="a\ufffd",
    ),
    accepted("line separators in the text", delta("a\u2028b\u0085c\x0bd"), STOP, text="a\u2028b\u0085c\x0bd"),
    accepted_bytes(
        "a character split between chunks",
        chunked(
            *(
                bytes([byte])
                for byte in b"".join(
                    data(chunk).replace(b"\\u00fc", "ü".encode())
                    for chunk in (delta("Gr\u00fc\u00dfe"), STOP)
                )
                + DONE
            )
        ),
        text="Gr\u00fc\u00dfe",
    ),
)
