"""Comments in a waiting stream, in virtual time."""

from __future__ import annotations

import asyncio

from services.edge.answers.queue_comments import QueueComments


async def test_comments_begin_after_the_wait_and_come_once_a_second():
    loop = asyncio.get_running_loop()
    written: list[float] = []
    began_s = loop.time()

    async def write() -> None:
        written.append(round(loop.time() - began_s, 3))

    comments = QueueComments(write, after_s=2.0)
    comments.start()
    await asyncio.sleep(4.5)
    await comments.stop()
    await comments.stop()
    await asyncio.sleep(5)
    assert written == [2.0, 3.0, 4.0]


async def test_an_answer_within_the_wait_has_no_comments():
    async def write() -> None:
        raise AssertionError("a comment")

    comments = QueueComments(write, after_s=2.0)
    comments.start()
    await asyncio.sleep(1.9)
    await comments.stop()
    await asyncio.sleep(5)


async def test_a_client_that_is_gone_ends_the_comments():
    async def write() -> None:
        raise ConnectionResetError

    comments = QueueComments(write, after_s=0.0)
    comments.start()
    await asyncio.sleep(1)
    await comments.stop()
