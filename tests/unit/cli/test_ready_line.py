from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.local.ready_line import ReadyLine

READY = b'{"event":"ready","http":"http://127.0.0.1:8000"}\n'


def test_the_parsed_line_is_returned_with_its_fields():
    assert ReadyLine().feed(READY) == {"event": "ready", "http": "http://127.0.0.1:8000"}


@given(st.lists(st.integers(0, 120), max_size=10))
def test_found_in_every_split_of_the_bytes(cuts: list[int]):
    output = b'{"event":"start"}\nplain text\n' + READY + b'{"event":"request"}\n'
    edges = [0, *sorted(min(cut, len(output)) for cut in cuts), len(output)]
    reader = ReadyLine()
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
def test_other_lines_are_not_it(line: bytes):
    assert ReadyLine().feed(line) is None


def test_a_line_without_end_is_not_kept_for_ever():
    reader = ReadyLine()
    for _ in range(100):
        assert reader.feed(b"x" * 10_000) is None
    assert len(reader._partial) <= 64 * 1024
    assert reader.feed(b"\n" + READY) is not None
