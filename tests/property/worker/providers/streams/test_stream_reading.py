"""D6, E1: the result of reading a stream depends on its content, not on further keys or the split of its bytes."""

from __future__ import annotations

import itertools
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from penstock.runtime.config.catalogue import StreamFormat
from services.worker.providers.errors.wire_errors import WireError
from services.worker.providers.json_repair import repair_json
from services.worker.providers.streams.chunks import ChunkReader
from services.worker.providers.streams.sse import SseReader

EMPTY_VALUES = st.recursive(
    st.sampled_from([None, "", [], {}]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)
ANY_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)
UNKNOWN_KEYS = st.text(min_size=1, max_size=6).map(lambda name: f"x_{name}") | st.sampled_from(
    ["content_filter_results", "native_finish_reason", "logprobs", "provider", "obfuscation", "stop_reason"]
)
TOP_LEVEL = UNKNOWN_KEYS | st.sampled_from(["system_fingerprint", "service_tier", "created", "object"])
EMPTY_KEYS = st.sampled_from(
    ["reasoning", "reasoning_content", "reasoning_details", "tool_calls", "refusal", "audio", "function_call"]
)


class Reading(Struct):
    """The result of reading a stream."""

    text: str = ""
    choices: tuple[Any, ...] = ()
    end: str = ""
    """The finish reason, or the name of the error."""


def read(pieces: list[bytes], stream_format: StreamFormat = StreamFormat()) -> Reading:  # noqa: B008 - frozen
    events, chunks, reading = SseReader(stream_format=stream_format), ChunkReader(stream_format), Reading()

    def take(payloads: list[bytes]) -> None:
        for payload in payloads:
            if (piece := chunks.read(payload)) is not None:
                reading.text += piece.text
                reading.choices += tuple(json.loads(bytes(raw)) for raw in piece.choices)

    try:
        for data in pieces:
            take(events.feed(data))
        take(events.close())
        end = chunks.end(events.done, framed=True)
    except WireError as error:
        reading.end = f"{type(error).__name__}: {error}"
        return reading
    reading.text += end.rest
    reading.end = str(end.finish_reason)
    return reading


def events_of(chunks: list[Any]) -> bytes:
    return (
        b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"
    )


def chunk_of(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {
        "id": "c",
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@st.composite
def extended(draw: st.DrawFn, delta: dict[str, Any], finish_reason: str | None, value: Any) -> dict[str, Any]:
    """A chunk with further keys at every level."""
    chunk = chunk_of(
        {**draw(st.dictionaries(UNKNOWN_KEYS | EMPTY_KEYS, EMPTY_VALUES, max_size=3)), **delta}, finish_reason
    )
    [choice] = chunk["choices"]
    choice.update(draw(st.dictionaries(UNKNOWN_KEYS, value, max_size=3)))
    chunk.update(draw(st.dictionaries(TOP_LEVEL, ANY_VALUES, max_size=3)))
    if draw(st.booleans()):
        del choice["index"]
    return chunk


@given(texts=st.lists(st.text(max_size=4), max_size=5), data=st.data())
def test_keys_without_data_change_nothing(texts, data):
    chunks = [data.draw(extended({"content": text}, None, EMPTY_VALUES)) for text in texts]
    chunks.append(data.draw(extended({}, "stop", EMPTY_VALUES)))
    assert read([events_of(chunks)]) == Reading("".join(texts), (), "stop")


@given(texts=st.lists(st.text(max_size=4), max_size=5), data=st.data())
def test_keys_with_data_change_neither_the_text_nor_the_end(texts, data):
    chunks = [data.draw(extended({"content": text}, None, ANY_VALUES)) for text in texts]
    chunks.append(data.draw(extended({}, "stop", ANY_VALUES)))
    reading = read([events_of(chunks)])
    assert (reading.text, reading.end) == ("".join(texts), "stop")
    assert not any(choice["delta"].get("content") for choice in reading.choices)


PARTS = st.lists(
    st.text(max_size=4)
    | st.builds(lambda text: {"type": "text", "text": text}, st.text(max_size=4))
    | st.builds(
        lambda text: {"type": "thinking", "thinking": [{"type": "text", "text": text}]}, st.text(max_size=4)
    ),
    max_size=4,
)
DELTAS = st.fixed_dictionaries(
    {},
    optional={
        "content": st.text(max_size=4) | PARTS | st.none(),
        "reasoning": st.text(max_size=4),
        "tool_calls": st.lists(st.fixed_dictionaries({"index": st.integers(0, 2)}), max_size=2),
        "role": st.sampled_from(["assistant", "tool", None]),
    },
)


def text_in(content: Any) -> str:
    if isinstance(content, list):
        parts = [part if isinstance(part, str) else part.get("text", "") for part in content]
        return "".join(parts)
    return content or ""


@given(st.lists(st.tuples(st.integers(0, 1), DELTAS), max_size=8))
def test_no_content_is_lost_or_doubled_in_mixed_streams(parts):
    chunks = [
        {"choices": [{"index": index, "delta": delta, "finish_reason": None}]} for index, delta in parts
    ]
    ends = [{"choices": [{"index": index, "delta": {}, "finish_reason": "stop"}]} for index in (0, 1)]
    reading = read([events_of(chunks + ends)])
    assert reading.end == "stop"
    assert reading.text == "".join(text_in(delta.get("content")) for index, delta in parts if index == 0)
    for name in ("reasoning", "tool_calls"):
        for which in (0, 1):
            sent = [delta[name] for index, delta in parts if index == which and delta.get(name)]
            got = [
                choice["delta"][name]
                for choice in reading.choices
                if choice["index"] == which and choice["delta"].get(name)
            ]
            assert got == sent
    other = [text_in(c["delta"].get("content")) for c in reading.choices if c["index"] == 1]
    assert "".join(other) == "".join(text_in(delta.get("content")) for index, delta in parts if index == 1)
    assert all(not text_in(c["delta"].get("content")) for c in reading.choices if c["index"] == 0)


PIECES_OF_STREAMS = st.sampled_from(
    [
        events_of([chunk_of({"content": "Hé"})])[: -len(b"data: [DONE]\n\n")],
        b'data: {"choices":[{"delta":{"content":"a\\ud83d"}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"\\ude00b"},"x":NaN}]}\r\n\r\n',
        b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
        b'data: {"choices":null,"usage":{"prompt_tokens":1}}\n\n',
        b'{"error":{"message":"busy"}}\n\n',
        b'{"choices":[{"message":{"content":"whole"},"finish_reason":"stop"}]}',
        b'event: error\ndata: {"message":"busy"}\n\n',
        b"error: busy\n\n",
        *(
            b"data: null\n\n",
            b"data\n\n",
            b": alive\n\n",
            b"event: ping\ndata: x\n\n",
            b"\xef\xbb\xbf",
            b"\n",
        ),
        *(b"data: [DONE]", b"data: [DONE]\n\n", b"data: {}\n", b"data: {", b"<html>", b"\xff", b"\r"),
    ]
)


@given(
    pieces=st.lists(PIECES_OF_STREAMS, max_size=8),
    places=st.lists(st.integers(0, 2000), max_size=8),
    stream_format=st.builds(
        StreamFormat,
        done=st.sampled_from(["required", "optional"]),
        finish_reason=st.sampled_from(["last", "every", "optional"]),
        event_end=st.sampled_from(["blank_line", "newline"]),
    ),
)
def test_deltas_do_not_depend_on_the_split_of_the_bytes(pieces, places, stream_format):
    data = b"".join(pieces)
    whole = read([data], stream_format)
    assert read(cut(data, places), stream_format) == whole
    assert read([data[at : at + 1] for at in range(len(data))], stream_format) == whole


@given(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=5), st.integers(0, 10_000))
def test_a_stream_truncated_before_its_finish_reason_is_an_error(texts, place):
    chunks = [chunk_of({"content": text}) for text in texts]
    data = events_of([*chunks, chunk_of({}, "stop")])
    unfinished = len(events_of(chunks)) - len(b"data: [DONE]\n\n")
    reading = read([data[: place % (unfinished + 1)]])
    assert reading.end.startswith(("BrokenStream", "SseTruncated"))
    assert "".join(texts).startswith(reading.text)


KNOWN_LINES = st.sampled_from([b"", b": ping\n\n", b"event: message\n", b"id: 7\n"])


def strictly_read(data: bytes) -> str | None:
    """The text of events in which each line is known; None for any other line but a stray text at the end."""
    text = ""
    for line in filter(None, data.split(b"\n")):
        name, _, value = line.partition(b":")
        if line.lstrip().startswith(b"{"):
            value = line
        elif name.strip().lower() != b"data":
            if b"}" in line or (
                name.strip().lower() not in {b"", b"event", b"id"} and not is_stray_text(line, data)
            ):
                return None
            continue
        if value.strip() in {b"[DONE]", b""}:
            continue
        try:
            chunk = json.loads(repair_json(value))
        except ValueError:
            if not is_stray_text(value, data):
                return None
            continue
        for choice in chunk.get("choices") or ():
            text += choice.get("delta", {}).get("content") or ""
    return text


def is_stray_text(value: bytes, data: bytes) -> bool:
    """Whether the text is a keep-alive, or is short and in the last event of the choice or after it."""
    if value.strip(b": ") == b"ping":
        return True
    last = data.rfind(b"\n\n", 0, data.find(b'"stop"'))
    return len(value) <= 64 and b"}" not in value and data.rfind(value) > last >= -1


@given(
    texts=st.lists(st.text('ab :}{"\n', min_size=1, max_size=6), min_size=1, max_size=4),
    before=KNOWN_LINES,
    place=st.integers(0, 10_000),
    length=st.integers(1, 400),
)
def test_lost_bytes_are_an_error_unless_each_line_left_is_an_event(texts, before, place, length):
    """Removing the bytes from one event to the same place in a later one leaves a valid stream."""
    chunks = [chunk_of({"content": text}) for text in texts]
    events = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in [*chunks, chunk_of({}, "stop")]]
    whole = b"".join(before + event for event in events) + b"data: [DONE]\n\n"
    place %= len(whole)
    left = whole[:place] + whole[place + length :]
    reading = read([left])
    if reading.end == "stop":
        assert reading.text == strictly_read(left)


@given(
    texts=st.lists(st.text("ab", min_size=1, max_size=6), min_size=1, max_size=4),
    which=st.integers(0, 3),
    start=st.integers(0, 30),
    end=st.integers(0, 30),
)
def test_losing_the_beginning_of_an_event_is_an_error(texts, which, start, end):
    """Whichever part of `data: {"id": ...` is missing, its text is read or an error is raised."""
    events = [b"data: " + json.dumps(chunk_of({"content": text})).encode() + b"\n\n" for text in texts]
    at = which % len(events)
    start, end = sorted((start, end))
    events[at] = events[at][:start] + events[at][end:]
    reading = read([b"".join(events) + events_of([chunk_of({}, "stop")])])
    assert reading.end != "stop" or reading.text == "".join(texts)


@given(
    texts=st.lists(st.text("ab", min_size=1, max_size=6), min_size=1, max_size=4),
    place=st.integers(0, 10_000),
    byte=st.sampled_from([b"\0", b"x", b"\n", b" ", b":", b'"', b"\r", b"\xef\xbb\xbf"]),
    replaces=st.booleans(),
)
def test_one_wrong_byte_loses_no_text(texts, place, byte, replaces):
    """Text under a misspelt key of the delta is passed on in the choice, like the value of any other key."""
    data = events_of([*(chunk_of({"content": text}) for text in texts), chunk_of({}, "stop")])
    place %= len(data)
    reading = read([data[:place] + byte + data[place + replaces :]])
    if reading.end != "stop":
        return
    others = "".join(str(value) for choice in reading.choices for value in choice["delta"].values())
    assert len(reading.text + others) >= len("".join(texts)) - replaces
