import asyncio

from services.worker.chunks import Piece
from services.worker.delta_sink import DeltaSink


class Reply:
    """Notes each delta with the attempt that is current when it is published."""

    def __init__(self):
        self.attempt = 1
        self.published = []

    async def delta(self, text, choices):  # noqa: ARG002 - the signature is ReplyPublisher's
        self.published.append((self.attempt, text))
        await asyncio.sleep(0)


async def test_later_pieces_are_gathered_and_go_out_in_order_at_the_end():
    reply = Reply()
    sink = DeltaSink(reply)
    for text in "abc":
        await sink.push(Piece(text))
    await sink.end()
    assert reply.published == [(1, "a"), (1, "bc")]
    assert sink.bytes_out == 3


async def test_d6_text_that_falls_due_as_its_attempt_breaks_is_not_sent_under_the_next_one():
    reply = Reply()
    sink = DeltaSink(reply)
    await sink.push(Piece("first"))
    await sink.push(Piece("late"))
    sink._due()  # the timer fires in the same turn of the loop in which the stream breaks
    sink.drop()
    reply.attempt = 2
    for _ in range(5):
        await asyncio.sleep(0)
    assert reply.published == [(1, "first")]
    assert sink.bytes_out == len("first")
