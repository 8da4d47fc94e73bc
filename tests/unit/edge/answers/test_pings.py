"""Pings in a silent stream, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from services.edge.answers.pings import Pings
from services.edge.http.errors import ClientDisconnected


def raise_error(error: Exception) -> None:
    raise error


async def test_a_ping_comes_after_ten_silent_seconds_and_every_ten_after_that():
    loop = asyncio.get_running_loop()
    began_s, written = loop.time(), []

    async def write() -> None:
        written.append(round(loop.time() - began_s, 3))

    pings = Pings(write, raise_error)
    pings.start()
    await asyncio.sleep(4)
    pings.sent()
    await asyncio.sleep(31)
    await pings.stop()
    await pings.stop()
    await asyncio.sleep(30)
    assert written == [14.0, 24.0, 34.0]


async def test_a_stream_that_is_never_silent_has_no_pings():
    async def write() -> None:
        raise AssertionError("a ping")

    pings = Pings(write, raise_error)
    pings.start()
    for _ in range(10):
        await asyncio.sleep(9.9)
        pings.sent()
    await pings.stop()


@pytest.mark.parametrize("error", [ClientDisconnected(), RuntimeError()])
async def test_an_error_ends_the_pings_and_is_reported(error: Exception):
    loop, problems, errors = asyncio.get_running_loop(), [], []
    loop.set_exception_handler(lambda _, problem: problems.append(problem))

    async def write() -> None:
        raise error

    pings = Pings(write, errors.append)
    pings.start()
    await asyncio.sleep(60)
    await pings.stop()
    del pings
    assert errors == [error]
    assert problems == []
