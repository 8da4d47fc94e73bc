"""Kinds of rows about streams: merely different, or damaged."""

from __future__ import annotations

import json
from typing import Any

from tests.fault.providers.rows.table import STREAMED, Row
from tests.fault.providers.rows.wire import (
    FULL,
    Answer,
    delta,
    events,
    stream,
)

USAGE = {"choices": [], "usage": FULL}


STOP = delta(None, "stop")


HELLO = (delta("Hello "), delta("world"), STOP)


PLAIN = (delta(role="assistant", content=""), delta("Hello"), delta(" world"), STOP, USAGE)


BODY = b"".join(events(*PLAIN))


JSON_OF_STREAM = json.dumps(
    {
        "id": "c",
        "object": "chat.completion",
        "model": "m",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Hello world"}, "finish_reason": "stop"}
        ],
        "usage": FULL,
    }
).encode()


def good(name: str, *chunks: object, done: bool = True, **more: Any) -> Row:
    """A stream that is merely different: one call, the text, no restart, no effect on others."""
    return Row(name=name, modes=STREAMED, script={"first": [stream(*chunks, done=done)]}, **more)


def sent(name: str, answer: Answer, **more: Any) -> Row:
    """The same with all bytes given."""
    return Row(name=name, modes=STREAMED, script={"first": [answer]}, **more)


def damaged(
    name: str, answer: Answer, *, restarts: int | None = 1, calls: int | tuple[int, int] = 1, **more: Any
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
