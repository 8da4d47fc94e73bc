"""D6: bodies are read out of aiohttp's buffer as aiohttp does it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import EMPTY_PAYLOAD, StreamReader
from hypothesis import given
from hypothesis import strategies as st

from services.worker.providers.http_connections import read_received

LIMIT = 64


class Protocol:
    """As far as a StreamReader uses its protocol."""

    connected = True

    def __init__(self) -> None:
        self._reading_paused = False
        self.resumed = 0

    def pause_reading(self) -> None:
        self._reading_paused = True

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: ARG002, FBT002 - aiohttp's signature
        self.resumed += self._reading_paused
        self._reading_paused = False


def body() -> tuple[StreamReader, Protocol]:
    protocol: Any = Protocol()
    return StreamReader(protocol, LIMIT, loop=asyncio.get_running_loop()), protocol


def feed(content: StreamReader, chunk: bytes) -> None:
    content.begin_http_chunk_receiving()
    content.feed_data(chunk)
    content.end_http_chunk_receiving()


@given(chunks=st.lists(st.binary(max_size=90), max_size=8), turns=st.lists(st.integers(0, 3), min_size=8))
async def test_d6_every_byte_is_read_once_and_in_order(chunks: list[bytes], turns: list[int]) -> None:
    content, _ = body()
    read = bytearray()

    async def reading() -> None:
        while data := await read_received(content, 100):
            assert len(data) <= 100
            read.extend(data)

    reader = asyncio.create_task(reading())
    for chunk, count in zip(chunks, turns, strict=False):
        feed(content, chunk)
        for _ in range(count):
            await asyncio.sleep(0)
    content.feed_eof()
    await reader
    assert read == b"".join(chunks)
    assert (content._size, content._cursor, content.total_bytes) == (0, len(read), len(read))


async def test_d6_chunks_that_arrived_together_are_one_piece() -> None:
    content, _ = body()
    for number in range(10):
        feed(content, b"%d" % number)
    assert await read_received(content, 100) == b"0123456789"


async def test_d7_a_paused_connection_is_resumed_when_its_data_was_read() -> None:
    content, protocol = body()
    while not protocol._reading_paused:
        feed(content, b"x" * 40)
    while content._size:
        await read_received(content, 100)
    assert (protocol.resumed, protocol._reading_paused) == (1, False)


async def test_d6_a_broken_body_is_an_error() -> None:
    content, _ = body()
    feed(content, b"x")
    content.set_exception(ConnectionResetError("reset"))
    with pytest.raises(ConnectionResetError):
        await read_received(content, 100)


async def test_d6_a_connection_that_breaks_ends_the_wait() -> None:
    content, _ = body()
    asyncio.get_running_loop().call_soon(content.set_exception, ConnectionResetError("reset"))
    with pytest.raises(ConnectionResetError):
        await read_received(content, 100)


async def test_d6_a_response_without_a_body_has_no_piece() -> None:
    assert await read_received(EMPTY_PAYLOAD, 100) == b""
