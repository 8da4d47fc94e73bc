"""The ready line of a child process."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.local.child import ReadyLineReader

READY = b'{"event":"ready","http":"http://127.0.0.1:8000"}\n'


def test_the_ready_line_is_returned_with_its_fields():
    assert ReadyLineReader().feed(READY) == {"event": "ready", "http": "http://127.0.0.1:8000"}


@given(st.lists(st.integers(0, 120), max_size=10))
def test_the_ready_line_is_found_in_every_split_of_the_bytes(cuts: list[int]):
    output = b'{"event":"start"}\nplain text\n' + READY + b'{"event":"request"}\n'
    edges = [0, *sorted(min(cut, len(output)) for cut in cuts), len(output)]
    reader = ReadyLineReader()
    found = [reader.feed(output[a:b]) for a, b in pairwise(edges)]
    assert [ready for ready in found if ready] == [{"event": "ready", "http": "http://127.0.0.1:8000"}]


@pytest.mark.parametrize(
    "line",
    [
        b'{"event":"starting"}\n',
        b'{"event":"ready"',
        b'not json but "ready"\n',
        b'["ready"]\n',
        b'{"state":"ready"}\n',
        b'\xff"ready"\xfe\n',
    ],
)
def test_other_lines_are_not_the_ready_line(line: bytes):
    assert ReadyLineReader().feed(line) is None


def test_the_memory_for_an_endless_line_is_bounded():
    reader = ReadyLineReader()
    for _ in range(100):
        assert reader.feed(b"x" * 10_000) is None
    assert len(reader._partial) <= 64 * 1024
    assert reader.feed(b"\n" + READY) is not None
