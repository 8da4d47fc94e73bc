from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.runtime.config.catalogue import StreamFormat
from services.worker.providers.errors.wire_errors import SseTooLarge, SseTruncated
from services.worker.providers.size_limits import WHOLE_BYTES
from services.worker.providers.streams.sse import SseReader


def outcome(
    pieces: list[bytes], max_event_bytes: int = 8 * 1024 * 1024, event_end: str = "blank_line"
) -> tuple[list[bytes], bool, str]:
    reader = SseReader(max_event_bytes, StreamFormat(event_end=event_end))
    payloads: list[bytes] = []
    try:
        for piece in pieces:
            payloads += reader.feed(piece)
        payloads += reader.close()
    except (SseTooLarge, SseTruncated) as error:
        return payloads, reader.done, type(error).__name__
    return payloads, reader.done, ""


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@pytest.mark.parametrize(
    ("data", "payloads"),
    [
        (b'data: {"a":1}\n\n', [b'{"a":1}']),
        (b"data:x\n\n", [b"x"]),
        (b"data:  x\n\n", [b" x"]),
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data: a\r\n\ndata: b\n\r\n", [b"a", b"b"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b": keep-alive\n\ndata: a\n\n", [b"a"]),
        (b"event: message\nid: 7\nretry: 10\ndata: a\n\n", [b"a"]),
        (b"data: a\n: between\ndata: b\n\n", [b"a\nb"]),
        (b"data\n\n", [b""]),
        (b"\n\n\ndata: a\n\n\n\n", [b"a"]),
        (b" data: a\n\n", [b"a"]),
        (b"Data: a\n\nDATA : b\n\n", [b"a", b"b"]),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [b"a", b"b"]),
        (b" \n\t\ndata: a\n\n", [b"a"]),
        (b': {"type": "ping"}\n\ndata: a\n\n', [b"a"]),
        (b"event: ping\ndata: {}\n\ndata: a\n\n", [b"a"]),
        (b"", []),
    ],
)
def test_all_forms_that_the_format_allows_are_read(data, payloads):
    assert outcome([data]) == (payloads, False, "")


@pytest.mark.parametrize(
    "line",
    [
        *(
            b"database: a",
            b'eata: {"a":1}',
            b'nt":" world"},"finish_reason":null}]}',
            b"\0data: {}",
            b"<html>",
        ),
        *(b': " world"},"finish_reason":null}]}', b': {"choices":[]}', b'id: "a"}}', b'event: x":null}]}'),
    ],
)
def test_d6_a_line_that_is_not_a_field_is_a_payload(line):
    assert outcome([b"data: a\n\n" + line + b"\n\ndata: b\n\n"]) == ([b"a", line, b"b"], False, "")


def test_a_keepalive_event_with_a_chunk_keeps_the_chunk():
    chunk = b'{"choices":[]}'
    assert outcome([b"event: ping\ndata: " + chunk + b"\n\n"]) == ([chunk], False, "")


def test_nothing_is_read_after_done():
    assert outcome([b"data: a\n\ndata: [DONE]\n\ndata: b\n\n", b"data: c", b"\n\n"]) == ([b"a"], True, "")


def test_done_without_a_blank_line_counts_at_the_end():
    assert outcome([b"data: a\n\ndata: [DONE]"]) == ([b"a"], True, "")
    assert outcome([b"data: a\n\ndata: [DON"]) == ([b"a"], False, "SseTruncated")


@pytest.mark.parametrize(
    "tail", [b"data: {", b"data: x\n", b"d", b"data: {}\nda", b'data: {}\ndata: {"', b"data: 12"]
)
def test_d6_a_stream_truncated_inside_an_event_is_an_error(tail):
    assert outcome([b"data: a\n\n" + tail]) == ([b"a"], False, "SseTruncated")


def test_a_truncated_comment_is_not_an_error():
    assert outcome([b"data: a\n\n: keep-al"]) == ([b"a"], False, "")


def test_the_size_limit_keeps_the_events_before_the_large_one():
    assert outcome([b"data: ab\n\ndata: cd\n\n"], 8) == ([b"ab", b"cd"], False, "")
    assert outcome([b"data: ab\n\ndata: cde\n\ndata: f\n\n"], 8) == ([b"ab"], False, "SseTooLarge")
    assert outcome([b"x" * 9], 8) == ([], False, "SseTooLarge")
    with pytest.raises(SseTooLarge):
        SseReader(8).feed(b"data: 123\n\n")


def test_a_large_event_in_small_pieces_takes_linear_time():
    reader = SseReader()
    reader.feed(b"data: ")
    for _ in range(3 * 1024):
        assert reader.feed(b"x" * 1024) == []
    assert len(reader.feed(b"\n\n")[0]) == 3 * 1024 * 1024


def read(*pieces: bytes, **settings: str) -> tuple[list[bytes], bool]:
    reader = SseReader(stream_format=StreamFormat(**settings))
    payloads = [payload for piece in pieces for payload in reader.feed(piece)]
    return payloads + reader.close(), reader.done


@pytest.mark.parametrize(
    "done", [b"data: [DONE]", b"data:[DONE]\n", b"data:  [DONE]  \n\n", b"data: [DONE]\r\n", b"[DONE]\n\n"]
)
def test_done_is_read_with_blanks_and_without_a_line_end(done):
    assert read(b"data: a\n\n" + done) == ([b"a"], True)


@pytest.mark.parametrize("end", [b"", b"\n", b"\n: comment", b"\nid: 7"])
def test_a_last_event_of_valid_json_needs_no_line_end(end):
    assert read(b'data: a\n\ndata: {"a":1}' + end) == ([b"a", b'{"a":1}'], False)


@pytest.mark.parametrize(
    ("alive", "payloads"),
    [
        *((b": OPENROUTER PROCESSING\n\n", []), (b"event: ping\n\n", []), (b"id: 7\nretry: 5\n\n", [])),
        *((b"event: ping\ndata: 2026-11-29\n\n", []), (b"event: keepalive\ndata\n\n", [])),
        (b'event: message\nid: 7\ndata: {"a":1}\n\n', [b'{"a":1}']),
    ],
)
def test_keepalives_have_no_payload(alive, payloads):
    assert read(alive + b"data: b\n\n") == ([*payloads, b"b"], False)


@pytest.mark.parametrize(
    ("block", "error"),
    [
        (b'{"error":{"message":"busy"}}', {"message": "busy"}),
        (b'{\n  "error": {\n    "message": "busy"\n  }\n}', {"message": "busy"}),
        (b'error: {"message":"busy"}', {"message": "busy"}),
        (b"error: busy", "busy"),
        (b'event: error\ndata: {"message":"busy"}', {"message": "busy"}),
        (b"event: error\ndata: busy", "busy"),
        (b"event: error\ndata: {", "{"),
        (b"event: error", "the provider reported an error without a message"),
        (b"event: error\ndata: {}", "the provider reported an error without a message"),
        (b'data: {"a":1}\n{"error":"busy"}', "busy"),
    ],
)
@pytest.mark.parametrize("end", [b"\n\n", b"\n", b""])
def test_an_error_outside_of_an_event_is_a_payload(block, error, end):
    for before in (b"data: a\n\n", b": alive\n\n"):
        payloads, _ = read(before + block + end)
        assert json.loads(payloads[-1]) == {"error": error}


BODY = b'{\n  "choices": [\n\n {"message": {"content": "x"}}]\n}'


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\n \r\n"])
@pytest.mark.parametrize("after", [b"", b"\n", b"\n\n "])
def test_a_json_body_in_the_place_of_a_stream_is_one_payload(before, after):
    for body in (BODY, BODY.replace(b"x", rb"\ud83d"), b'[{"error":1}]'):
        payloads, done = read(*(bytes([byte]) for byte in before + body + after))
        assert ([payload.strip() for payload in payloads], done) == ([body], True)


def test_d6_truncated_json_is_an_error():
    with pytest.raises(SseTruncated):
        read(BODY[:-1])


def test_json_values_on_separate_lines_are_payloads():
    assert read(b'{"a":1}\n{"a":2}\n') == ([b'{"a":1}', b'{"a":2}'], False)
    assert read(b'{"error":1}\n\ndata: [DONE]\n\n') == ([b'{"error":1}'], True)


def test_a_json_body_may_be_as_large_as_a_whole_completion():
    reader = SseReader()
    reader.feed(b'{"a":"')
    reader.feed(b"x" * (WHOLE_BYTES - 8))
    assert len(reader.feed(b'"}') + reader.close()) == 1
    with pytest.raises(SseTooLarge, match="the answer has more than 7,340,032 bytes"):
        SseReader().feed(b"{" + b"x" * WHOLE_BYTES)


NEWLINES = b'data: {"a":1}\nevent: error\ndata: busy\n\n: c\nid: 7\ndata: {"a":2}\ndata: [DONE]\n'
HINT = (
    "; if this provider ends its events with one newline, "
    "set stream: {event_end: newline} for it in the catalogue"
)


def test_events_may_end_with_one_newline():
    assert read(NEWLINES, event_end="newline") == ([b'{"a":1}', b'{"error":"busy"}', b'{"a":2}'], True)
    reader = SseReader(stream_format=StreamFormat(event_end="newline"))
    assert reader.feed(b'data: {"a":1}\n') == [b'{"a":1}']  # immediately, not only at the end
    assert reader.feed(b"data: {") == []
    with pytest.raises(SseTruncated):
        reader.close()


def test_events_that_end_with_one_newline_name_the_setting():
    for stream in (b'data: {"a":1}\n' * 2, b'event: x\ndata: {"a":1}\n' * 2 + b"data: [DONE]\n"):
        with pytest.raises(SseTruncated) as caught:
            read(stream)
        assert str(caught.value).endswith(HINT)
    reader = SseReader(40)
    with pytest.raises(SseTooLarge) as too_large:
        reader.feed(b'data: {"a":1}\n' * 9)
    assert str(too_large.value).endswith(HINT)


FRAGMENTS = st.sampled_from(
    [
        *(
            b"data: ",
            b"data:",
            b"data",
            b"event: x",
            b": c",
            b"{}",
            b"[DONE]",
            b'{"error":{}}',
            b"error: x",
            b"event: error",
            b"[",
            b"data: [DONE]\n\n",
            b"data: ab\n\n",
        ),
        *(b"\n", b"\r", b"\r\n", b"\n\n", b"\xef\xbb\xbf", b"\xef", b" ", b"\xd0\xb6"),
    ]
)


@given(
    fragments=st.lists(FRAGMENTS, max_size=14),
    places=st.lists(st.integers(0, 200), max_size=8),
    bound=st.sampled_from([4, 8, 12, 1000]),
    event_end=st.sampled_from(["blank_line", "newline"]),
)
def test_payloads_do_not_depend_on_the_split_of_the_bytes(fragments, places, bound, event_end):
    data = b"".join(fragments)
    whole = outcome([data], bound, event_end)
    assert outcome(cut(data, places), bound, event_end) == whole
    assert outcome([data[at : at + 1] for at in range(len(data))], bound, event_end) == whole


@given(st.lists(st.binary(max_size=12).filter(lambda raw: not set(raw) & set(b"\r\n")), max_size=6))
def test_written_events_are_read_unchanged(payloads):
    written = b"".join(b"data: " + payload + b"\n\n" for payload in payloads)
    if not any(payload.strip() == b"[DONE]" for payload in payloads):
        assert outcome([written]) == (payloads, False, "")
