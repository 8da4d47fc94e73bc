"""How streams end, well and badly."""

from __future__ import annotations

import gzip

from tests.fault.providers.rows.stream_rows import (
    BODY,
    HELLO,
    JSON_OF_STREAM,
    STOP,
    USAGE,
    damaged,
    good,
    sent,
)
from tests.fault.providers.rows.table import STREAMED, WHOLE, Both, Row
from tests.fault.providers.rows.wire import (
    RESET,
    SSE,
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
from tests.harness.scripted_provider import DONE, End

DONE_REQUIRED, EVERY, NO_REASON, NEWLINE = "creative", "reasoning", "fast", "safety"


ENDS = (
    good("no DONE", *HELLO, done=False),
    good("no DONE, usage last", *HELLO, USAGE, done=False),
    sent("no DONE, sized", sized(b"".join(events(*HELLO, done=False)), content_type=SSE)),
    sent("no DONE, closed", until_closed(*events(*HELLO, done=False))),
    good("DONE without an end of line", *HELLO, b"data: [DONE]", done=False),
    good("DONE with spaces", *HELLO, b"data:   [DONE]  \n\n", done=False),
    good("DONE with one newline", *HELLO, b"data: [DONE]\n", done=False),
    good("DONE twice", *HELLO, DONE),
    good(
        "the last event without its blank line",
        *events(*HELLO, done=False)[:-1],
        data(STOP, end=""),
        done=False,
    ),
    good("usage after DONE", *HELLO, DONE, USAGE, done=False),
    sent("reset after DONE", (*chunked(*events(*HELLO), ended=False), 0.1, End.RESET)),
    sent("not ended after DONE", chunked(*events(*HELLO), ended=False)),
    good("required and there", *HELLO, lane=DONE_REQUIRED),
    damaged("required and missing", stream(*HELLO, done=False), lane=DONE_REQUIRED),
    good("stop on every chunk", *(delta(text, "stop") for text in ("Hello ", "world", "")), lane=EVERY),
    good(
        "stop on every chunk, no DONE",
        delta("Hello ", "stop"),
        delta("world", "stop"),
        done=False,
        lane=EVERY,
    ),
    damaged(
        "stop on every chunk, cut",
        chunked(*events(delta("Hello", "stop"), done=False), ended=False),
        lane=EVERY,
    ),
    good("no finish reason, DONE", delta("Hello "), delta("world"), lane=NO_REASON),
    # llmcord issue 84: Gemini's finishReason beside a finish_reason that stays null.
    good(
        "finishReason in camel case",
        delta("Hello world"),
        delta(None, choice={"finishReason": "stop"}),
        done=False,
        lane=NO_REASON,
    ),
    damaged(
        "no finish reason, cut", chunked(*events(delta("Hello"), done=False), ended=False), lane=NO_REASON
    ),
    sent(
        "one newline between events",
        chunked(*(data(chunk, end="\n") for chunk in HELLO), b"data: [DONE]\n"),
        lane=NEWLINE,
    ),
    sent("blank lines where newlines are enough", stream(*HELLO), lane=NEWLINE),
)


DAMAGE = (
    damaged("cut in the text", chunked(*events(delta("Hello"), delta(" wor"), done=False), ended=False)),
    damaged("cut before the finish reason, clean", stream(delta("Hello"), delta(" wor"), done=False)),
    damaged(
        "cut in an event",
        chunked(*events(delta("Hello"), done=False), data(delta("world"))[:30], ended=False),
    ),
    damaged("finished, and the body not ended", chunked(*events(*HELLO, done=False), ended=False)),
    damaged(
        "finished, and then a reset", (*chunked(*events(*HELLO, done=False), ended=False), 0.1, End.RESET)
    ),
    damaged(
        "shorter than its length",
        (headed("200 OK", SSE, "Content-Length: 90000"), *events(*HELLO, done=False)),
    ),
    damaged(
        "reset in the text", (*chunked(*events(delta("Hello"), done=False), ended=False), 0.1, End.RESET)
    ),
    damaged("text after the end", stream(delta("Hello"), STOP, delta(" and more"))),
    damaged("a chunk that is no JSON", stream(delta("Hello"), b'data: {"choices":[{"index":0,\n\n', STOP)),
    damaged("a page of HTML", stream(delta("Hello"), b"data: <html>502 Bad Gateway</html>\n\n")),
    damaged(
        "bytes that are no UTF-8",
        stream(delta("Hello"), b'data: {"choices":[{"delta":{"content":"\xff\xfe"}}]}\n\n', STOP),
    ),
    damaged(
        "an error between pieces", stream(delta("Hello"), {"error": {"message": "Overloaded", "code": 503}})
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
        "gzip that breaks off",
        chunked(gzip.compress(BODY)[:-30], more=("Content-Encoding: gzip",)),
        restarts=None,
        calls=(1, 2),
    ),
    Row(
        name="a whole answer shorter than its length",
        modes=WHOLE,
        script={"first": [(headed("200 OK", "application/json", "Content-Length: 9000"), JSON_OF_STREAM)]},
        model="second",
        text="from second",
        calls={"first": (1, 2), "second": 1},
        quiet=True,
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
    # One failure before any output: the same model once more (retry.same_model: 1).
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


# What is left of an event that lost its first bytes, or whose name was hit by one.
_WORLD = data(delta(" world"))
GARBLED = (
    damaged("the head of an event is missing", stream(delta("Hello"), _WORLD[40:], STOP)),
    damaged("one byte of a field's name", stream(delta("Hello"), b"e" + _WORLD[1:], STOP)),
    damaged("a NUL between two events", stream(delta("Hello"), b"\0" + _WORLD, STOP)),
    damaged(
        "what is left of it looks like a comment",
        stream(delta("Hello"), _WORLD[_WORLD.index(b": 0") :], STOP),
    ),
    damaged("a delta under another name", stream(delta("Hello"), _WORLD.replace(b"delta", b"dlta"), STOP)),
    sent(
        "a byte order mark before each event", stream(*(b"\xef\xbb\xbf" + event for event in events(*HELLO)))
    ),
    sent("blanks before data", stream(delta("Hello"), b" " + _WORLD, STOP)),
    sent("Data", stream(delta("Hello"), b"D" + _WORLD[1:], STOP)),
    sent("close behind the end", stream(*HELLO, b"event: close\ndata: bye\n\n")),
    sent("[done] in small letters", stream(*HELLO, b"data: [done]\n\n", done=False)),
    sent("keep-alive as data", stream(delta("Hello"), b"data: : keepalive\n\n", _WORLD, STOP)),
    damaged("a reset of a body without length", (*until_closed(*events(*HELLO, done=False)), 0.1, End.RESET)),
    good("an error that says success", *HELLO, delta(top={"error": {"code": 0, "message": ""}})),
    good(
        "the only choice has index 1",
        *(
            delta(text, end, choice={"index": 1})
            for text, end in (("Hello ", None), ("world", None), (None, "stop"))
        ),
    ),
)


def _choices(*indexes: int) -> tuple[dict[str, object], ...]:
    return tuple(delta("Hello world", "stop", choice={"index": index}) for index in indexes)


SEVERAL = (
    good("two of two choices", *_choices(0, 1), body={"n": 2}),
    good("one of three, as of a provider that does not know n", *_choices(0), body={"n": 3}),
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
        name="one of three, and the connection closed",
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
