import asyncio
import random

import pytest
from msgspec import Raw

from services.worker.execution.delta_sink import DeltaSink
from services.worker.providers.errors.failures import ProviderFailure
from services.worker.providers.size_limits import STREAM_BYTES
from services.worker.providers.streams.chunks import ChunkDelta


class Reply:
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


class SlowReply:
    """Publishing takes a random number of turns of the loop."""

    def __init__(self, turns):
        self.turns = turns
        self.published = []

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


async def test_f2_published_output_is_counted_in_bytes():
    sink = DeltaSink(Reply())
    for piece in (ChunkDelta("long"), ChunkDelta("вода"), ChunkDelta("", (Raw('"ж"'.encode()),))):
        await sink.push(piece)
    await sink.end()
    assert sink.bytes_out == 4 + 8 + 4


@pytest.mark.parametrize(
    "mebibyte", [ChunkDelta("x" * 2**20), ChunkDelta("é" * 2**19), ChunkDelta("", (Raw(b"9" * 2**20),))]
)
async def test_an_endless_answer_ends_at_the_size_limit(mebibyte):
    reply = Reply()
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
