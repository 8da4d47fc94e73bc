from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from services.worker.execution.delta_sink import Coalescer, Flush
from services.worker.providers.streams.chunks import ChunkDelta

A, B = Raw(b'{"index":1}'), Raw(b'{"index":2}')


def test_the_first_piece_is_published_at_once_and_later_ones_are_joined():
    coalescer = Coalescer(gather_s=0.008)
    assert coalescer.push(ChunkDelta("a"), 1.0) == (Flush("a"),)
    assert coalescer.due_s() is None
    assert coalescer.push(ChunkDelta("b"), 2.0) == ()
    assert coalescer.push(ChunkDelta("c"), 2.005) == ()
    assert coalescer.due_s() == 2.008
    assert coalescer.flush() == (Flush("bc"),)
    assert (coalescer.flush(), coalescer.due_s()) == ((), None)


def test_a_late_timer_does_not_delay_due_deltas():
    coalescer = Coalescer(gather_s=0.008)
    coalescer.push(ChunkDelta("a"), 0.0)
    coalescer.push(ChunkDelta("b"), 0.0)
    assert coalescer.push(ChunkDelta("c"), 0.008) == (Flush("bc"),)


def test_the_size_of_a_delta_is_counted_in_bytes():
    coalescer = Coalescer(max_bytes=4)
    coalescer.push(ChunkDelta("a"), 0.0)
    assert coalescer.push(ChunkDelta("ж"), 0.0) == ()
    assert coalescer.push(ChunkDelta("ж"), 0.0) == (Flush("жж"),)
    assert coalescer.push(ChunkDelta("", (A,)), 0.0) == (Flush("", (A,)),)


def test_text_and_choices_keep_their_order():
    coalescer = Coalescer()
    assert coalescer.push(ChunkDelta("", (A,)), 0.0) == (Flush("", (A,)),)
    coalescer.push(ChunkDelta("", (A,)), 0.0)
    coalescer.push(ChunkDelta("", (B,)), 0.0)
    assert coalescer.push(ChunkDelta("x"), 0.001) == (Flush("", (A, B)),)
    assert coalescer.push(ChunkDelta("", (B,)), 0.002) == (Flush("x"),)
    assert coalescer.flush() == (Flush("", (B,)),)


def test_a_large_piece_of_another_kind_publishes_both_kinds():
    coalescer = Coalescer(max_bytes=4)
    coalescer.push(ChunkDelta("a"), 0.0)
    coalescer.push(ChunkDelta("b"), 0.0)
    assert coalescer.push(ChunkDelta("", (A,)), 0.0) == (Flush("b"), Flush("", (A,)))


def test_a_piece_with_text_and_choices_publishes_choices_first():
    coalescer = Coalescer()
    assert coalescer.push(ChunkDelta("a", (A,)), 0.0) == (Flush("", (A,)), Flush("a"))
    assert coalescer.push(ChunkDelta("b", (A,)), 0.0) == ()
    assert coalescer.push(ChunkDelta("c", (B,)), 0.0) == ()
    assert coalescer.push(ChunkDelta("d"), 0.0) == ()
    assert coalescer.push(ChunkDelta("", (B,)), 0.0) == (Flush("", (A, B)), Flush("bcd"))
    assert coalescer.push(ChunkDelta("e", (A,)), 0.0) == ()
    assert coalescer.flush() == (Flush("", (B, A)), Flush("e"))


PIECES = st.builds(ChunkDelta, st.text(min_size=1, max_size=9)) | st.builds(
    lambda numbers: ChunkDelta("", tuple(Raw(str(number).encode()) for number in numbers)),
    st.lists(st.integers(0, 999), min_size=1, max_size=3),
)


def laid_out(parts: list[ChunkDelta] | list[Flush]) -> list[str | bytes]:
    return [item for part in parts for item in (*part.text, *map(bytes, part.choices))]


BOTH = PIECES | st.builds(ChunkDelta, st.text(min_size=1, max_size=9), st.just((A,)) | st.just((B, A)))


def pushed(steps: list[tuple[ChunkDelta, float, bool]], max_bytes: int) -> list[Flush]:
    coalescer = Coalescer(max_bytes=max_bytes)
    now_s, flushed = 0.0, []
    for piece, wait_s, timer_fires in steps:
        now_s += wait_s
        due_s = coalescer.due_s()
        if timer_fires and due_s is not None and now_s >= due_s:
            flushed += coalescer.flush()
        flushed += coalescer.push(piece, now_s)
        assert coalescer.due_s() is None or now_s < coalescer.due_s()
    flushed += coalescer.flush()
    assert all(bool(flush.text) != bool(flush.choices) for flush in flushed)
    return flushed


@given(
    steps=st.lists(st.tuples(PIECES, st.floats(0, 0.02), st.booleans()), max_size=30),
    max_bytes=st.integers(1, 40),
)
def test_e1_no_text_is_lost_duplicated_or_reordered(steps, max_bytes):
    assert laid_out(pushed(steps, max_bytes)) == laid_out([piece for piece, _, _ in steps])


@given(
    steps=st.lists(st.tuples(BOTH, st.floats(0, 0.02), st.booleans()), max_size=30),
    max_bytes=st.integers(1, 40),
)
def test_e1_text_and_choices_each_keep_their_order(steps, max_bytes):
    flushed = pushed(steps, max_bytes)
    pieces = [piece for piece, _, _ in steps]
    assert "".join(flush.text for flush in flushed) == "".join(piece.text for piece in pieces)
    assert [c for flush in flushed for c in flush.choices] == [c for piece in pieces for c in piece.choices]
