from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker.calls.sse import SseReader, SseTooLarge, SseTruncated


def outcome(pieces: list[bytes], max_event_bytes: int = 8 * 1024 * 1024) -> tuple[list[bytes], bool, str]:
    reader = SseReader(max_event_bytes)
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
        (b"database: a\n\n", []),
        (b"", []),
    ],
)
def test_reads_what_the_format_allows(data, payloads):
    assert outcome([data]) == (payloads, False, "")


def test_nothing_is_read_after_done():
    assert outcome([b"data: a\n\ndata: [DONE]\n\ndata: b\n\n", b"data: c", b"\n\n"]) == ([b"a"], True, "")


def test_done_without_the_last_blank_line_counts_when_the_response_ends():
    assert outcome([b"data: a\n\ndata: [DONE]"]) == ([b"a"], True, "")
    assert outcome([b"data: a\n\ndata: [DON"]) == ([b"a"], False, "SseTruncated")


@pytest.mark.parametrize(
    "tail", [b"data: {", b"data: x\n", b"d", b"data: {}\nda", b'data: {}\ndata: {"', b"data: 12"]
)
def test_a_stream_cut_inside_an_event_is_reported__d6(tail):
    assert outcome([b"data: a\n\n" + tail]) == ([b"a"], False, "SseTruncated")


def test_a_comment_cut_short_loses_nothing():
    assert outcome([b"data: a\n\n: keep-al"]) == ([b"a"], False, "")


def test_the_bound_is_on_one_event_and_spares_the_events_before_it():
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
)
def test_every_split_of_the_bytes_gives_the_same(fragments, places, bound):
    data = b"".join(fragments)
    whole = outcome([data], bound)
    assert outcome(cut(data, places), bound) == whole
    assert outcome([data[at : at + 1] for at in range(len(data))], bound) == whole


@given(st.lists(st.binary(max_size=12).filter(lambda raw: not set(raw) & set(b"\r\n")), max_size=6))
def test_what_was_written_is_what_is_read(payloads):
    written = b"".join(b"data: " + payload + b"\n\n" for payload in payloads)
    if not any(payload.strip() == b"[DONE]" for payload in payloads):
        assert outcome([written]) == (payloads, False, "")
