"""Comments in a waiting stream, in virtual time."""

from __future__ import annotations

import asyncio

from services.edge.answers.queue_comments import QueueComments


def raise_error(error: Exception) -> None:
    raise error


async def test_comments_begin_after_the_wait_and_come_once_a_second():
    loop = asyncio.get_running_loop()
    written: list[float] = []
    began_s = loop.time()

    async def write() -> None:
        written.append(round(loop.time() - began_s, 3))

    comments = QueueComments(write, 2.0, raise_error)
    comments.start()
    await asyncio.sleep(4.5)
    await comments.stop()
    await comments.stop()
    await asyncio.sleep(5)
    assert written == [2.0, 3.0, 4.0]


async def test_an_answer_within_the_wait_has_no_comments():
    async def write() -> None:
        raise AssertionError("a comment")

    comments = QueueComments(write, 2.0, raise_error)
    comments.start()
    await asyncio.sleep(1.9)
    await comments.stop()
    await asyncio.sleep(5)


async def test_an_error_ends_the_comments_and_is_reported():
    errors: list[Exception] = []

    async def write() -> None:
        raise ConnectionResetError

    comments = QueueComments(write, 0.0, errors.append)
    comments.start()
    await asyncio.sleep(5)
    await comments.stop()
    assert [type(error) for error in errors] == [ConnectionResetError]
