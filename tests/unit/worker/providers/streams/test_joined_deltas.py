"""E1, D6: chunks that arrived together give as few deltas as possible, and lose nothing."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker.providers.errors.wire_errors import BrokenStream, MalformedChunk, WireError
from services.worker.providers.streams.chunks import ChunkReader
from services.worker.providers.streams.joined_deltas import joined_deltas
from tests.unit.worker.providers.streams.chunk_samples import choice, chunk

REASONING = chunk(choice({"reasoning": "why"}))
ROLE = chunk(choice({"role": "assistant"}))


def text(content):
    return chunk(choice({"content": content}))


def read(*payloads):
    return [(delta.text, len(delta.choices)) for delta in joined_deltas(ChunkReader(), payloads)]


def test_e1_adjacent_text_is_one_delta():
    assert read(ROLE, text("a"), text("b"), text("c"), chunk(choice({}, "stop"))) == [("abc", 0)]


def test_e1_other_content_stays_between_the_texts_around_it():
    assert read(text("a"), text("b"), REASONING, REASONING, text("c")) == [
        ("ab", 0),
        ("", 1),
        ("", 1),
        ("c", 0),
    ]


def test_e1_chunks_without_content_give_no_delta():
    assert read() == read(ROLE) == []


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        ([b'{"choices":'], MalformedChunk),
        ([chunk(choice({}, "stop")), text("late")], BrokenStream),
    ],
)
def test_d6_the_text_before_a_broken_chunk_is_kept(broken, error):
    deltas = joined_deltas(ChunkReader(), [text("a"), text("b"), *broken, text("c")])
    assert next(deltas).text == "ab"
    with pytest.raises(error):
        next(deltas)


PAYLOADS = st.one_of(
    st.text(min_size=1, max_size=5).map(text),
    st.sampled_from(
        [REASONING, ROLE, chunk(choice({}, "stop")), b"{", b"[DONE", text("\ud83d"), text("\ude00")]
    ),
)


def content(deltas):
    """The text and the choices in their order, however they are divided, and the error at the end."""
    found = []
    try:
        for delta in deltas:
            found += [msgspec.json.decode(each) for each in delta.choices]
            found += delta.text
    except WireError as error:
        found.append(repr(error))
    return found


@given(st.lists(PAYLOADS, max_size=12))
def test_d6_the_content_is_that_of_the_chunks_one_by_one(payloads):
    one_by_one = ChunkReader()
    each = (delta for payload in payloads if (delta := one_by_one.read(payload)) is not None)
    assert content(joined_deltas(ChunkReader(), payloads)) == content(each)
