"""Complete and damaged ends of streams."""

from __future__ import annotations

import gzip

from tests.fault.worker.providers.rows.stream_rows import (
    BODY,
    HELLO,
    JSON_OF_STREAM,
    STOP,
    USAGE,
    accepted,
    accepted_bytes,
    damaged,
)
from tests.fault.worker.providers.rows.table import STREAMED, WHOLE, Both, Row, all_models
from tests.fault.worker.providers.rows.wire import (
    RESET,
    SSE,
    chunked,
    completion,
    data,
    delta,
    error,
    events,
    http_head,
    sized,
    stream,
    until_closed,
)
from tests.harness.providers.scripted_provider import DONE, End

DONE_REQUIRED, EVERY, NO_FINISH_REASON, NEWLINE = "creative", "reasoning", "fast", "safety"


ENDS = (
    accepted("no DONE", *HELLO, done=False),
    accepted("no DONE, usage last", *HELLO, USAGE, done=False),
    accepted_bytes(
        "no DONE, with Content-Length", sized(b"".join(events(*HELLO, done=False)), content_type=SSE)
    ),
    accepted_bytes("no DONE, connection closed", until_closed(*events(*HELLO, done=False))),
    accepted("DONE without an end of line", *HELLO, b"data: [DONE]", done=False),
    accepted("DONE with spaces", *HELLO, b"data:   [DONE]  \n\n", done=False),
    accepted("DONE with one newline", *HELLO, b"data: [DONE]\n", done=False),
    accepted("DONE twice", *HELLO, DONE),
    accepted(
        "the last event without its blank line",
        *events(*HELLO, done=False)[:-1],
        data(STOP, end=""),
        done=False,
    ),
    accepted("usage after DONE", *HELLO, DONE, USAGE, done=False),
    accepted_bytes("reset after DONE", (*chunked(*events(*HELLO), ended=False), 0.1, End.RESET)),
    accepted_bytes("body not ended after DONE", chunked(*events(*HELLO), ended=False)),
    accepted("DONE required and received", *HELLO, lane=DONE_REQUIRED),
    damaged("DONE required and missing", stream(*HELLO, done=False), lane=DONE_REQUIRED),
    accepted("stop on every chunk", *(delta(text, "stop") for text in ("Hello ", "world", "")), lane=EVERY),
    accepted(
        "stop on every chunk, no DONE",
        delta("Hello ", "stop"),
        delta("world", "stop"),
        done=False,
        lane=EVERY,
    ),
    damaged(
        "stop on every chunk, truncated",
        chunked(*events(delta("Hello", "stop"), done=False), ended=False),
        lane=EVERY,
    ),
    *(
        damaged(
            f"stop on every chunk, truncated, transfer coding {coding}",
            (
                http_head("200 OK", SSE, f"Transfer-Encoding: {coding}", "Connection: close"),
                *events(delta("Hello", "stop"), done=False),
            ),
            lane=EVERY,
        )
        for coding in ("identity", "gzip")
    ),
    accepted("no finish reason, DONE", delta("Hello "), delta("world"), lane=NO_FINISH_REASON),
    # llmcord issue 84: Gemini's finishReason beside a finish_reason that stays null.
    accepted(
        "finishReason in camel case",
        delta("Hello world"),
        delta(None, choice={"finishReason": "stop"}),
        done=False,
        lane=NO_FINISH_REASON,
    ),
    damaged(
        "no finish reason, truncated",
        chunked(*events(delta("Hello"), done=False), ended=False),
        lane=NO_FINISH_REASON,
    ),
    accepted_bytes(
        "one newline between events",
        chunked(*(data(chunk, end="\n") for chunk in HELLO), b"data: [DONE]\n"),
        lane=NEWLINE,
    ),
    accepted_bytes("blank lines where one newline is configured", stream(*HELLO), lane=NEWLINE),
)


DAMAGED = (
    damaged(
        "truncated in the text", chunked(*events(delta("Hello"), delta(" wor"), done=False), ended=False)
    ),
    damaged("clean end without a finish reason", stream(delta("Hello"), delta(" wor"), done=False)),
    damaged(
        "truncated in an event",
        chunked(*events(delta("Hello"), done=False), data(delta("world"))[:30], ended=False),
    ),
    damaged("finished, but the body not ended", chunked(*events(*HELLO, done=False), ended=False)),
    damaged(
        "finished, then a connection reset",
        (*chunked(*events(*HELLO, done=False), ended=False), 0.1, End.RESET),
    ),
    damaged(
        "shorter than Content-Length",
        (http_head("200 OK", SSE, "Content-Length: 90000"), *events(*HELLO, done=False)),
    ),
    damaged(
        "reset in the text", (*chunked(*events(delta("Hello"), done=False), ended=False), 0.1, End.RESET)
    ),
    damaged("text after the finish reason", stream(delta("Hello"), STOP, delta(" and more"))),
    damaged("a chunk that is not JSON", stream(delta("Hello"), b'data: {"choices":[{"index":0,\n\n', STOP)),
    damaged("a page of HTML", stream(delta("Hello"), b"data: <html>502 Bad Gateway</html>\n\n")),
    damaged(
        "bytes that are not UTF-8",
        stream(delta("Hello"), b'data: {"choices":[{"delta":{"content":"\xff\xfe"}}]}\n\n', STOP),
    ),
    damaged(
        "an error between chunks", stream(delta("Hello"), {"error": {"message": "Overloaded", "code": 503}})
    ),
    # OpenRouter, errors in the stream: beside choices, with finish_reason "error" (local-operator PR 223).
    damaged(
        "openrouter error chunk",
        stream(
            delta("Hello"),
            delta(
                "", "error", top={"error": {"code": 502, "message": "Provider disconnected"}, "provider": "x"}
            ),
        ),
    ),
    damaged("finish reason error alone", stream(delta("Hello"), delta(None, "error"))),  # hax PR 15
    damaged("finish reason network_error after text", stream(delta("Hello"), delta(None, "network_error"))),
    damaged("finish reason abort beside text", stream(delta("Hello"), delta(" wor", "abort"))),
    # LM Studio and SGLang: an event named error.
    damaged(
        "an event named error",
        stream(delta("Hello"), b'event: error\ndata: {"error":{"message":"Model crashed"}}\n\n'),
    ),
    damaged("an error as text", stream(delta("Hello"), {"error": "CUDA out of memory"})),
    damaged(
        "an error at the top level",
        stream(
            delta("Hello"),
            {"object": "error", "message": "EngineDeadError", "type": "InternalServerError", "code": 500},
        ),
    ),
    damaged("stalled in the text", (*chunked(*events(delta("Hello"), done=False), ended=False), 1.6)),
    damaged(
        "truncated gzip",
        chunked(gzip.compress(BODY)[:-30], more=("Content-Encoding: gzip",)),
        restarts=None,
        calls=(1, 2),
    ),
    Row(
        name="a completion shorter than Content-Length",
        modes=WHOLE,
        script={"first": [(http_head("200 OK", "application/json", "Content-Length: 9000"), JSON_OF_STREAM)]},
        model="second",
        text="from second",
        calls={"first": (1, 2), "second": 1},
        quiet=True,
    ),
    # Hermes PR 92161: a clean end without content.
    Row(
        name="finish reason network_error once",
        script={
            "first": [
                Both(
                    stream(delta(None, "network_error")),
                    completion(None, choice={"finish_reason": "network_error"}),
                ),
                Both(stream(*HELLO), completion()),
            ]
        },
        calls={"first": 2},
    ),
    Row(
        name="finish reason insufficient_system_resource of all models",
        modes=WHOLE,
        script=all_models(completion("Hello", choice={"finish_reason": "insufficient_system_resource"})),
        code="provider_unavailable",
        message_has=("insufficient_system_resource",),
        provider_code="insufficient_system_resource",
        calls={"first": (1, 8), "second": (1, 8), "long": (1, 8)},
    ),
    Row(
        name="malformed function call",
        script={
            "first": [
                Both(
                    stream(delta(None, "function_call_filter: MALFORMED_FUNCTION_CALL")),
                    completion(None, choice={"finish_reason": "MALFORMED_FUNCTION_CALL"}),
                )
            ]
        },
        model="second",
        text="from second",
        calls={"first": 2, "second": 1},
    ),
    Row(
        name="an empty stream",
        modes=STREAMED,
        script={"first": [chunked(b"")]},
        model="second",
        text="from second",
        calls={"first": (1, 2), "second": 1},
    ),
    Row(
        name="DONE alone",
        modes=STREAMED,
        script={"first": [stream()]},
        model="second",
        text="from second",
        calls={"first": (1, 2), "second": 1},
    ),
)


BEFORE_ANY_OUTPUT = (
    # After one failure before any output, the same model is called again (retry.same_model_retries: 1).
    Row(
        name="reset before any output",
        script={"first": [RESET, Both(stream(*HELLO), completion())]},
        calls={"first": 2},
    ),
    Row(
        name="one 500",
        script={"first": [error(500, {"error": {"message": "oops"}}), Both(stream(*HELLO), completion())]},
        calls={"first": 2},
    ),
    Row(
        name="one 503 of HTML",
        script={
            "first": [
                error(503, "<html><body>upstream connect error</body></html>"),
                Both(stream(*HELLO), completion()),
            ]
        },
        calls={"first": 2},
    ),
    Row(
        name="one 529",
        script={
            "first": [
                error(
                    529,
                    {
                        "type": "error",
                        "error": {  # Anthropic
                            "type": "overloaded_error",
                            "message": "Overloaded",
                        },
                    },
                ),
                Both(stream(*HELLO), completion()),
            ]
        },
        calls={"first": 2},
    ),
    Row(
        name="500 each time",
        script={"first": [error(500, {"error": {"message": "oops"}})]},
        model="second",
        text="from second",
        calls={"first": 2, "second": 1},
    ),
    Row(
        name="reset each time",
        script={"first": [RESET]},
        model="second",
        text="from second",
        calls={"first": 2, "second": 1},
    ),
)


# Events that lost their first bytes or have a corrupted field name.
_WORLD = data(delta(" world"))
CORRUPTED = (
    damaged("the beginning of an event is missing", stream(delta("Hello"), _WORLD[40:], STOP)),
    damaged("one wrong byte in a field name", stream(delta("Hello"), b"e" + _WORLD[1:], STOP)),
    damaged("a NUL between two events", stream(delta("Hello"), b"\0" + _WORLD, STOP)),
    damaged(
        "the rest of an event looks like a comment",
        stream(delta("Hello"), _WORLD[_WORLD.index(b": 0") :], STOP),
    ),
    damaged("a delta under an unknown key", stream(delta("Hello"), _WORLD.replace(b"delta", b"dlta"), STOP)),
    accepted_bytes(
        "a byte order mark before each event", stream(*(b"\xef\xbb\xbf" + event for event in events(*HELLO)))
    ),
    accepted_bytes("blanks before the field name", stream(delta("Hello"), b" " + _WORLD, STOP)),
    accepted_bytes("Data with a capital letter", stream(delta("Hello"), b"D" + _WORLD[1:], STOP)),
    accepted_bytes("a close event after the end", stream(*HELLO, b"event: close\ndata: bye\n\n")),
    accepted_bytes("[done] in lower case", stream(*HELLO, b"data: [done]\n\n", done=False)),
    accepted_bytes("keep-alive as data", stream(delta("Hello"), b"data: : keepalive\n\n", _WORLD, STOP)),
    damaged(
        "a connection reset in a body without length",
        (*until_closed(*events(*HELLO, done=False)), 0.1, End.RESET),
    ),
    accepted(
        "an error object that reports success", *HELLO, delta(top={"error": {"code": 0, "message": ""}})
    ),
    accepted(
        "the only choice has index 1",
        *(
            delta(text, end, choice={"index": 1})
            for text, end in (("Hello ", None), ("world", None), (None, "stop"))
        ),
    ),
)


def _choices(*indexes: int) -> tuple[dict[str, object], ...]:
    return tuple(delta("Hello world", "stop", choice={"index": index}) for index in indexes)


SEVERAL_CHOICES = (
    accepted("two of two choices", *_choices(0, 1), body={"n": 2}),
    accepted("one of three choices, n not supported", *_choices(0), body={"n": 3}),
    Row(
        name="two of three choices",
        modes=STREAMED,
        script={"first": [stream(*_choices(0, 1))], "second": [stream(*_choices(0, 1, 2))]},
        model="second",
        calls={"first": 1, "second": 1},
        restarts=1,
        body={"n": 3},
    ),
    Row(
        name="one of three choices, connection closed",
        modes=STREAMED,
        script={
            "first": [until_closed(*events(*_choices(0), done=False))],
            "second": [stream(*_choices(0, 1, 2))],
        },
        model="second",
        calls={"first": 1, "second": 1},
        restarts=1,
        body={"n": 3},
    ),
)
