"""E1: the pieces of an answer are joined into deltas, in their order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from services.worker.execution.delta_sink import Coalescer, DeltaSink, JoinedDelta
from services.worker.providers.errors.failures import ProviderFailure
from services.worker.providers.size_limits import STREAM_BYTES
from services.worker.providers.streams.chunks import ChunkDelta
from tests.unit.worker.worker_parts import AmpleRoom


class Reply(AmpleRoom):
    """Records each delta with the attempt that is current when it is published."""

    def __init__(self):
        self.attempt = 1
        self.published = []

    async def delta(self, text, choices):  # noqa: ARG002 - the signature is ReplyPublisher's
        self.published.append((self.attempt, text))
        await asyncio.sleep(0)


async def test_later_pieces_are_joined_and_published_in_order_at_the_end():
    reply = Reply()
    sink = DeltaSink(reply)
    for text in "abc":
        await sink.push(ChunkDelta(text))
    await sink.end()
    assert reply.published == [(1, "a"), (1, "bc")]
    assert sink.bytes_out == 3


async def test_d6_text_due_as_its_attempt_fails_is_not_sent_in_the_next_one():
    reply = Reply()
    sink = DeltaSink(reply)
    await sink.push(ChunkDelta("first"))
    await sink.push(ChunkDelta("late"))
    sink._due()  # the timer fires in the same turn of the loop in which the stream breaks
    sink.drop()
    reply.attempt = 2
    for _ in range(5):
        await asyncio.sleep(0)
    assert reply.published == [(1, "first")]
    assert sink.bytes_out == len("first")


class SlowReply(AmpleRoom):
    """Publishing takes a random number of turns of the loop, and sometimes none."""

    def __init__(self, turns):
        self.turns = turns
        self.published = []

    def sends_at_once(self):
        return self.turns.random() < 0.5

    def delta_at_once(self, text, choices):
        self.published.append(text + "".join(bytes(choice).decode() for choice in choices))

    async def delta(self, text, choices):
        number = len(self.published)
        self.published.append(None)
        for _ in range(self.turns.randrange(4)):
            await asyncio.sleep(0)
        self.published[number] = text + "".join(bytes(choice).decode() for choice in choices)


@pytest.mark.parametrize("seed", range(60))
async def test_d6_deltas_keep_the_order_of_pieces_whenever_the_timer_fires(seed):
    turns = random.Random(seed)
    reply = SlowReply(turns)
    sink = DeltaSink(reply)
    letters = [chr(97 + number % 26) for number in range(40)]
    for letter in letters:
        piece = ChunkDelta(letter) if turns.random() < 0.5 else ChunkDelta("", (Raw(letter.encode()),))
        pushing = asyncio.ensure_future(sink.push(piece))
        for _ in range(turns.randrange(3)):
            await asyncio.sleep(0)
            if turns.random() < 0.5:
                sink._due()
        await pushing
    await sink.end()
    published = list(reply.published)
    for _ in range(20):
        await asyncio.sleep(0)
    assert reply.published == published
    assert "".join(published) == "".join(letters)


class ReplyAtOnce(Reply):
    def sends_at_once(self):
        return True

    def delta_at_once(self, text, choices):  # noqa: ARG002 - the signature is ReplyPublisher's
        self.published.append((self.attempt, text))


async def test_e1_what_is_due_is_published_when_the_timer_fires():
    reply = ReplyAtOnce()
    sink = DeltaSink(reply, keep_bytes=10)
    for text in "abc":
        await sink.push(ChunkDelta(text))
    sink._due()
    assert reply.published == [(1, "a"), (1, "bc")]
    assert (sink.bytes_out, [delta.text for delta in sink.kept]) == (3, ["a", "bc"])
    await sink.end()
    assert reply.published == [(1, "a"), (1, "bc")]


async def test_e1_a_large_delta_that_is_due_is_published_by_a_task():
    """It may exceed what the server accepts: the error has to reach the attempt."""
    reply = ReplyAtOnce()
    sink = DeltaSink(reply)
    await sink.push(ChunkDelta("a"))
    sink._coalescer._max_bytes = 1_000_000
    await sink.push(ChunkDelta("b" * 70_000))
    sink._due()
    assert reply.published == [(1, "a")]
    await sink.end()
    assert reply.published == [(1, "a"), (1, "b" * 70_000)]


async def test_f2_published_output_is_counted_in_bytes():
    sink = DeltaSink(Reply())
    for piece in (ChunkDelta("long"), ChunkDelta("вода"), ChunkDelta("", (Raw('"ж"'.encode()),))):
        await sink.push(piece)
    await sink.end()
    assert sink.bytes_out == 4 + 8 + 4


@pytest.mark.parametrize(
    "made",
    [
        lambda: ChunkDelta("x" * 2**20),
        lambda: ChunkDelta("é" * 2**19),
        lambda: ChunkDelta("", (Raw(b"9" * 2**20),)),
    ],
    ids=["ascii", "two_bytes", "extra"],
)
async def test_an_endless_answer_ends_at_the_size_limit(made: Callable[[], ChunkDelta]):
    reply, mebibyte = Reply(), made()
    sink = DeltaSink(reply)
    for _ in range(STREAM_BYTES // 2**20):
        await sink.push(mebibyte)
    with pytest.raises(ProviderFailure, match="16,777,216 bytes") as caught:
        await sink.push(ChunkDelta("x"))
    assert (caught.value.kind, caught.value.handling.action) == ("oversized", "give_up")
    assert len(reply.published) == STREAM_BYTES // 2**20


class BreakingReply(Reply):
    """One publication fails, as when the connection's buffer is full."""

    def __init__(self, number):
        super().__init__()
        self.number = number
        self.calls = 0

    async def delta(self, text, choices):
        self.calls += 1
        if self.calls == self.number:
            raise ConnectionError("the buffer is full")
        await super().delta(text, choices)


@pytest.mark.parametrize("then", ["push", "end"])
async def test_d6_a_failed_late_publish_fails_the_attempt(then):
    reply = BreakingReply(2)
    sink = DeltaSink(reply)
    await sink.push(ChunkDelta("first"))
    await sink.push(ChunkDelta("lost"))
    sink._due()
    for _ in range(3):
        await asyncio.sleep(0)
    sink._due()  # a later timer must not replace the failed task
    with pytest.raises(ConnectionError):
        await (sink.push(ChunkDelta("more")) if then == "push" else sink.end())
    assert reply.published == [(1, "first")]


A, B = Raw(b'{"index":1}'), Raw(b'{"index":2}')


def test_the_first_piece_is_published_at_once_and_later_ones_are_joined():
    coalescer = Coalescer(gather_s=0.008)
    assert coalescer.push(ChunkDelta("a"), 1.0) == (JoinedDelta("a"),)
    assert coalescer.due_s() is None
    assert coalescer.push(ChunkDelta("b"), 2.0) == ()
    assert coalescer.push(ChunkDelta("c"), 2.005) == ()
    assert coalescer.due_s() == 2.008
    assert coalescer.flush() == (JoinedDelta("bc"),)
    assert (coalescer.flush(), coalescer.due_s()) == ((), None)


def test_a_late_timer_does_not_delay_due_deltas():
    coalescer = Coalescer(gather_s=0.008)
    coalescer.push(ChunkDelta("a"), 0.0)
    coalescer.push(ChunkDelta("b"), 0.0)
    assert coalescer.push(ChunkDelta("c"), 0.008) == (JoinedDelta("bc"),)


def test_the_size_of_a_delta_is_counted_in_bytes():
    coalescer = Coalescer(max_bytes=4)
    coalescer.push(ChunkDelta("a"), 0.0)
    assert coalescer.push(ChunkDelta("ж"), 0.0) == ()
    assert coalescer.push(ChunkDelta("ж"), 0.0) == (JoinedDelta("жж"),)
    assert coalescer.push(ChunkDelta("", (A,)), 0.0) == (JoinedDelta("", (A,)),)


def test_text_and_choices_keep_their_order():
    coalescer = Coalescer()
    assert coalescer.push(ChunkDelta("", (A,)), 0.0) == (JoinedDelta("", (A,)),)
    coalescer.push(ChunkDelta("", (A,)), 0.0)
    coalescer.push(ChunkDelta("", (B,)), 0.0)
    assert coalescer.push(ChunkDelta("x"), 0.001) == (JoinedDelta("", (A, B)),)
    assert coalescer.push(ChunkDelta("", (B,)), 0.002) == (JoinedDelta("x"),)
    assert coalescer.flush() == (JoinedDelta("", (B,)),)


def test_a_large_piece_of_another_kind_publishes_both_kinds():
    coalescer = Coalescer(max_bytes=4)
    coalescer.push(ChunkDelta("a"), 0.0)
    coalescer.push(ChunkDelta("b"), 0.0)
    assert coalescer.push(ChunkDelta("", (A,)), 0.0) == (JoinedDelta("b"), JoinedDelta("", (A,)))


def test_a_piece_with_text_and_choices_publishes_choices_first():
    coalescer = Coalescer()
    assert coalescer.push(ChunkDelta("a", (A,)), 0.0) == (JoinedDelta("", (A,)), JoinedDelta("a"))
    assert coalescer.push(ChunkDelta("b", (A,)), 0.0) == ()
    assert coalescer.push(ChunkDelta("c", (B,)), 0.0) == ()
    assert coalescer.push(ChunkDelta("d"), 0.0) == ()
    assert coalescer.push(ChunkDelta("", (B,)), 0.0) == (JoinedDelta("", (A, B)), JoinedDelta("bcd"))
    assert coalescer.push(ChunkDelta("e", (A,)), 0.0) == ()
    assert coalescer.flush() == (JoinedDelta("", (B, A)), JoinedDelta("e"))


PIECES = st.builds(ChunkDelta, st.text(min_size=1, max_size=9)) | st.builds(
    lambda numbers: ChunkDelta("", tuple(Raw(str(number).encode()) for number in numbers)),
    st.lists(st.integers(0, 999), min_size=1, max_size=3),
)


def laid_out(parts: list[ChunkDelta] | list[JoinedDelta]) -> list[str | bytes]:
    return [item for part in parts for item in (*part.text, *map(bytes, part.choices))]


BOTH = PIECES | st.builds(ChunkDelta, st.text(min_size=1, max_size=9), st.just((A,)) | st.just((B, A)))


def pushed(steps: list[tuple[ChunkDelta, float, bool]], max_bytes: int) -> list[JoinedDelta]:
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
    assert all(bool(delta.text) != bool(delta.choices) for delta in flushed)
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
    assert "".join(delta.text for delta in flushed) == "".join(piece.text for piece in pieces)
    assert [c for delta in flushed for c in delta.choices] == [c for piece in pieces for c in piece.choices]
