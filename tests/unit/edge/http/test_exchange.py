"""One HTTP exchange on a connection without a network, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from penstock.bus.clock import SYSTEM
from penstock.runtime.byte_budget import ByteBudget
from services.edge.http.connection import STATE_KEY
from services.edge.http.errors import ClientDisconnected, HttpError, ShuttingDown
from services.edge.http.exchange import Exchange, HttpLimits

MIB = 1024 * 1024
LIMITS = HttpLimits(body_bytes=100, body_s=5.0, write_s=3.0, memory=ByteBudget(0))


class FakeConnection:
    def __init__(self) -> None:
        self.is_lost = False
        self.is_backed_up = False
        self.is_aborted = False
        self.discarded_for_s: float | None = None
        self.on_lost: Callable[[], None] | None = None
        self.reader_reads = asyncio.Event()

    async def drained(self) -> None:
        await self.reader_reads.wait()

    def resume_reading(self) -> None:
        """Reading is never paused here."""

    def begin_stream(self) -> None:
        """The client speaks HTTP/1.1."""

    def end_stream(self) -> None:
        """As above."""

    def discard_body(self, seconds: float) -> None:
        self.discarded_for_s = seconds

    def abort(self) -> None:
        self.is_aborted = True

    def lose(self) -> None:
        self.is_lost = True
        if self.on_lost is not None:
            self.on_lost()


class Client:
    """The messages of ASGI in both directions."""

    def __init__(
        self,
        *pieces: bytes,
        pause_s: float = 0.0,
        headers: dict[str, str] | None = None,
        limits: HttpLimits = LIMITS,
    ) -> None:
        self.connection = FakeConnection()
        self.never_ends = False
        """After the pieces, nothing comes."""
        self.sent: list[dict[str, Any]] = []
        self._pieces = list(pieces)
        self._pause_s = pause_s
        given = {"content-type": "application/json", **(headers or {})}
        scope = {
            "method": "POST",
            "path": "/v1/x",
            "query_string": b"a=1&b=%20&c=",
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
            "state": {STATE_KEY: self.connection},
        }
        self.exchange = Exchange(scope, self.receive, self.send, limits, SYSTEM)

    async def receive(self) -> dict[str, Any]:
        await asyncio.sleep(self._pause_s)
        if not self._pieces:
            if self.never_ends:
                await asyncio.Event().wait()
            return {"type": "http.disconnect"}
        piece = self._pieces.pop(0)
        more = bool(self._pieces) or self.never_ends
        return {"type": "http.request", "body": piece, "more_body": more}

    async def send(self, message: Any) -> None:
        self.sent.append(message)


async def test_a_body_is_joined_from_its_pieces():
    client = Client(b"ab", b"", b"cd", headers={"x-a": " b "})
    assert await client.exchange.body() == b"abcd"
    assert client.exchange.header(b"x-a") == "b"
    assert client.exchange.header(b"x-b") == ""
    assert client.exchange.query() == {"a": "1", "b": " ", "c": ""}


@pytest.mark.parametrize("headers", [{"content-length": "101"}, {}, {"content-length": "x"}])
async def test_d10_a_body_over_the_limit_is_a_413_and_the_rest_is_discarded(headers: dict[str, str]):
    client = Client(b"a" * 60, b"b" * 60, b"c" * 60, headers=headers)
    with pytest.raises(HttpError) as refused:
        await client.exchange.body()
    assert refused.value.status == 413
    await client.exchange.respond(413, b"{}")
    assert client.connection.discarded_for_s == LIMITS.body_s


@pytest.mark.parametrize("headers", [{"content-length": str(3 * MIB * 5)}, {}])
async def test_d9_large_bodies_of_all_requests_share_a_bounded_memory(headers: dict[str, str]):
    limits = HttpLimits(body_bytes=15 * MIB, body_s=5.0, write_s=3.0, memory=ByteBudget(30 * MIB))
    clients = [Client(*[b"a" * 3 * MIB] * 5, headers=headers, limits=limits) for _ in range(4)]
    for client in clients[:2]:
        assert len(await client.exchange.body()) == 15 * MIB
    with pytest.raises(HttpError) as refused:
        await clients[2].exchange.body()
    assert (refused.value.status, refused.value.code) == (429, "overloaded")
    assert (b"retry-after", b"1") in refused.value.headers
    small = Client(b"a" * 8 * MIB, limits=limits)
    assert len(await small.exchange.body()) == 8 * MIB
    clients[0].exchange.finish()
    assert len(await clients[3].exchange.body()) == 15 * MIB


async def test_d9_what_a_slow_sender_has_not_sent_takes_no_memory():
    limits = HttpLimits(body_bytes=15 * MIB, body_s=5.0, write_s=3.0, memory=ByteBudget(30 * MIB))
    headers = {"content-length": str(15 * MIB)}
    slow = [Client(b"a" * 8 * MIB, b"a", headers=headers, limits=limits) for _ in range(2)]
    for client in slow:
        client.never_ends = True
    reading = [asyncio.create_task(client.exchange.body()) for client in slow]
    await asyncio.sleep(1)
    other = Client(b"a" * 12 * MIB, headers=headers, limits=limits)
    assert len(await other.exchange.body()) == 12 * MIB
    outcomes = await asyncio.gather(*reading, return_exceptions=True)
    assert [error.status for error in outcomes if isinstance(error, HttpError)] == [408, 408]
    for client in (*slow, other):
        client.exchange.finish()
    assert limits.memory.try_hold(30 * MIB, "")


async def test_d9_the_large_bodies_of_one_client_leave_memory_to_another():
    memory = ByteBudget(30 * MIB, share=15 * MIB)
    limits = HttpLimits(body_bytes=15 * MIB, body_s=5.0, write_s=3.0, memory=memory)
    first, second, other = (Client(*[b"a" * 3 * MIB] * 5, limits=limits) for _ in range(3))
    other.exchange.memory_owner = "another"
    assert len(await first.exchange.body()) == 15 * MIB
    with pytest.raises(HttpError) as refused:
        await second.exchange.body()
    assert refused.value.status == 429
    assert len(await other.exchange.body()) == 15 * MIB


async def test_d10_a_body_that_was_not_sent_yet_is_not_waited_for():
    client = Client(b"", headers={"content-length": "101", "expect": "100-continue"})
    with pytest.raises(HttpError) as refused:
        await client.exchange.body()
    assert (b"connection", b"close") in refused.value.headers
    assert client.connection.discarded_for_s is None


@pytest.mark.parametrize("media_type", ["", "text/plain", "application/x-www-form-urlencoded", "json"])
async def test_d10_a_body_of_another_type_is_a_415(media_type: str):
    """A page of any origin may send these to an edge on the machine of its visitor."""
    with pytest.raises(HttpError) as refused:
        await Client(b"{}", headers={"content-type": media_type}).exchange.body()
    assert refused.value.status == 415


@pytest.mark.parametrize("media_type", ["application/json", "Application/JSON; charset=utf-8"])
async def test_e1_a_body_of_json_is_read(media_type: str):
    assert await Client(b"{}", headers={"content-type": media_type}).exchange.body() == b"{}"


async def test_d10_a_slow_body_is_a_408():
    began_s = asyncio.get_running_loop().time()
    with pytest.raises(HttpError) as refused:
        await Client(b"a", b"b", b"c", pause_s=2.0).exchange.body()
    assert refused.value.status == 408
    assert asyncio.get_running_loop().time() - began_s < 5.1


async def test_d8_a_client_that_leaves_before_its_body_is_complete_is_gone():
    client = Client(b"a", b"b")
    client._pieces = []
    with pytest.raises(ClientDisconnected):
        await client.exchange.body()


async def test_d10_a_reader_that_stops_is_disconnected():
    client, loop = Client(), asyncio.get_running_loop()
    await client.exchange.start_stream()
    await client.exchange.write(b"1")
    client.connection.is_backed_up = True
    began_s = loop.time()
    with pytest.raises(ClientDisconnected):
        await client.exchange.write(b"2")
    assert 3 <= loop.time() - began_s < 3.1
    assert client.connection.is_aborted
    assert [message.get("body") for message in client.sent] == [None, b"1"]


async def test_d10_a_reader_of_a_whole_answer_that_stops_is_disconnected():
    client = Client()
    client.connection.is_backed_up = True
    with pytest.raises(ClientDisconnected):
        await client.exchange.respond(200, b"{}")
    assert client.connection.is_aborted


async def test_e1_a_slow_reader_is_waited_for():
    client = Client()
    await client.exchange.start_stream()
    client.connection.is_backed_up = True
    asyncio.get_running_loop().call_later(2.0, client.connection.reader_reads.set)
    await client.exchange.write(b"1")
    await client.exchange.end()
    assert [message.get("body") for message in client.sent] == [None, b"1", b""]


async def test_d8_the_loss_of_the_connection_ends_the_block_at_once():
    client, loop = Client(), asyncio.get_running_loop()
    loop.call_later(1.0, client.connection.lose)
    began_s = loop.time()
    with pytest.raises(ClientDisconnected):
        async with client.exchange.interruptible():
            await asyncio.sleep(60)
    assert loop.time() - began_s < 1.1
    with pytest.raises(ClientDisconnected):
        async with client.exchange.interruptible():
            pytest.fail("the block of a lost connection is entered")


async def test_d9_a_shutdown_ends_the_block_after_its_callback():
    client, called = Client(), []
    asyncio.get_running_loop().call_later(1.0, client.exchange.interrupt)
    with pytest.raises(ShuttingDown):
        async with client.exchange.interruptible(lambda: called.append(1)):
            await asyncio.sleep(60)
    client.exchange.interrupt()
    assert called == [1]
    await asyncio.sleep(1)  # the task is not cancelled again
    with pytest.raises(ShuttingDown):
        async with client.exchange.interruptible():
            pytest.fail("the block is entered during a shutdown")


async def test_d6_an_error_from_elsewhere_ends_the_block_at_once():
    client, loop = Client(), asyncio.get_running_loop()
    client.exchange.interrupt_with(ValueError("outside of the block"))
    loop.call_later(1.0, client.exchange.interrupt_with, ValueError("inside"))
    with pytest.raises(ValueError, match="inside"):
        async with client.exchange.interruptible():
            await asyncio.sleep(60)
    async with client.exchange.interruptible():
        await asyncio.sleep(1)


async def test_d9_a_shutdown_after_the_loss_of_the_connection_changes_nothing():
    client, called = Client(), []

    async def lose_and_stop() -> None:
        async with client.exchange.interruptible(lambda: called.append(1)):
            client.connection.lose()
            client.exchange.interrupt()
            await asyncio.sleep(60)

    with pytest.raises(ClientDisconnected):
        await lose_and_stop()
    assert called == [1]


async def test_d9_a_time_limit_inside_the_block_is_not_taken_for_an_interruption():
    client = Client()
    with pytest.raises(TimeoutError):
        async with client.exchange.interruptible(), asyncio.timeout(1):
            await asyncio.sleep(60)


async def test_a_cancellation_from_elsewhere_passes():
    client = Client()

    async def wait() -> None:
        async with client.exchange.interruptible():
            await asyncio.sleep(60)

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    client.connection.lose()
