"""Kinds of rows for streams: unusual but complete, or damaged."""

from __future__ import annotations

import json
from typing import Any

from tests.fault.worker.providers.rows.table import STREAMED, Row
from tests.fault.worker.providers.rows.wire import (
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


def accepted(name: str, *chunks: object, done: bool = True, **more: Any) -> Row:
    """An unusual but complete stream: one call, the full text, no restart, no effect on other requests."""
    return Row(name=name, modes=STREAMED, script={"first": [stream(*chunks, done=done)]}, **more)


def accepted_bytes(name: str, answer: Answer, **more: Any) -> Row:
    """The same for a response given in bytes."""
    return Row(name=name, modes=STREAMED, script={"first": [answer]}, **more)


def damaged(
    name: str, answer: Answer, *, restarts: int | None = 1, calls: int | tuple[int, int] = 1, **more: Any
) -> Row:
    """A damaged stream: the next model answers, and the reader discards the text received before."""
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
