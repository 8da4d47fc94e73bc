"""D7: what is sent directly is what nats-py would send, and whatever it refuses or waits for is left to it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client as Nats
from nats.aio.transport import TcpTransport
from nats.errors import MaxPayloadError

from penstock.bus import nats_patches
from penstock.bus.wire.sending import send


class Socket:
    """The writer of a connection and its transport."""

    def __init__(self, unwritten: int = 0, *, closing: bool = False) -> None:
        self.transport = self
        self.written: list[bytes] = []
        self.unwritten = unwritten
        self.closing = closing

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return self.unwritten

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def writelines(self, lines: list[bytes]) -> None:
        self.written.append(b"".join(lines))

    async def drain(self) -> None:
        self.unwritten = 0


def connected(socket: Socket | None = None, **state: Any) -> Nats:
    nc = Nats()
    nc._status, nc._max_pending_size = Nats.CONNECTED, 1000
    nc._flush_queue = asyncio.Queue()
    nc._transport = TcpTransport()
    nc._transport._io_writer = socket or Socket()
    vars(nc).update(state)
    return nc


async def of_nats_py(*message: Any) -> bytes:
    nc = Nats()
    subject, payload, reply, headers = message
    await nc._send_publish(subject, reply, payload, len(payload), headers)
    return b"".join(nc._pending)


@given(
    st.text("a.ü\x0b", min_size=1, max_size=5),
    st.binary(max_size=9),
    st.sampled_from(("", "r.1")),
    st.none() | st.dictionaries(st.sampled_from(("a", "B-c")), st.text("x ü\r\n", max_size=5)),
)
async def test_d7_a_message_is_written_as_nats_py_writes_it(
    subject: str, payload: bytes, reply: str, headers: dict[str, str] | None
):
    nc = connected()
    assert send(nc, subject, payload, reply, headers)
    assert b"".join(nc._pending) == await of_nats_py(subject, payload, reply, headers)
    assert nc.pending_data_size == len(b"".join(nc._pending))
    assert (nc.stats["out_msgs"], nc.stats["out_bytes"]) == (1, len(payload))


async def test_k7_messages_of_one_iteration_are_one_write():
    socket = Socket()
    nc = connected(socket)
    assert send(nc, "a", b"1")
    assert send(nc, "b", b"2", "r")
    assert socket.written == []
    await asyncio.sleep(0)
    assert socket.written == [b"PUB a  1\r\n1\r\nPUB b r 1\r\n2\r\n"]
    assert (nc._pending, nc.pending_data_size) == ([], 0)
    assert send(nc, "c", b"")
    await asyncio.sleep(0)
    assert len(socket.written) == 2


@pytest.mark.parametrize("subject", ["", "a b", "a\r\nPUB x 0\r\n", "a\tb"])
async def test_d7_an_invalid_subject_is_left_to_nats_py(subject: str):
    nc = connected()
    assert not send(nc, subject, b"")
    assert not subject or not send(nc, "a", b"", subject)
    assert nc._pending == []


@pytest.mark.parametrize(
    "state",
    [
        {"_status": Nats.RECONNECTING},
        {"_status": Nats.CLOSED},
        {"_status": Nats.DRAINING_PUBS},
        {"_max_payload": 2},
        {"_pending_data_size": 990},
        {"_max_pending_size": 0},
    ],
)
async def test_d7_what_nats_py_refuses_or_waits_for_is_left_to_it(state: dict[str, int]):
    nc = connected(**state)
    assert not send(nc, "a", b"123")
    assert nc._pending == []
    assert nc.stats["out_msgs"] == 0


async def test_d7_a_socket_that_takes_no_more_is_written_to_by_the_flusher_of_nats_py():
    socket = Socket(unwritten=70_000)
    nc = connected(socket)
    nc._flusher_task = asyncio.create_task(nc._flusher())
    assert send(nc, "a", b"1")
    for _ in range(5):
        await asyncio.sleep(0)
    assert (socket.written, socket.unwritten) == ([b"PUB a  1\r\n1\r\n"], 0)
    nc._flusher_task.cancel()


async def test_d7_a_closing_socket_is_left_to_the_flusher_of_nats_py():
    socket = Socket(closing=True)
    nc = connected(socket, _flusher_task=asyncio.Future())
    assert send(nc, "a", b"1")
    for _ in range(3):
        await asyncio.sleep(0)
    assert (socket.written, nc._pending) == ([], [b"PUB a  1\r\n1\r\n"])
    assert nc._flush_queue.qsize() == 1


class WebSocket:
    """A transport that frames what it writes, so that nobody else may write to its socket."""

    def __init__(self) -> None:
        self._io_writer = Socket()
        self.framed: list[bytes] = []

    def writelines(self, payload: list[bytes]) -> None:
        self.framed += payload

    async def drain(self) -> None: ...


async def test_d7_a_web_socket_is_written_to_by_the_flusher_of_nats_py():
    transport = WebSocket()
    nc = connected(_transport=transport)
    nc._flusher_task = asyncio.create_task(nc._flusher())
    assert send(nc, "a", b"1")
    for _ in range(5):
        await asyncio.sleep(0)
    assert transport.framed == [b"PUB a  1\r\n1\r\n"]
    assert transport._io_writer.written == []
    nc._flusher_task.cancel()


async def test_d7_what_was_sent_before_the_connection_was_lost_is_kept_for_the_next():
    socket = Socket()
    nc = connected(socket)
    assert send(nc, "a", b"1")
    nc._status = Nats.RECONNECTING
    await asyncio.sleep(0)
    assert (socket.written, nc._pending) == ([], [b"PUB a  1\r\n1\r\n"])


async def test_d7_a_flush_asks_the_server_after_what_was_published():
    nats_patches.install()
    socket = Socket()
    nc = connected(socket, _reading_task=asyncio.Future(), _flusher_task=asyncio.Future())

    async def publish_and_flush() -> None:
        assert send(nc, "a", b"1")
        await nc.flush()

    nc._transport._io_reader = asyncio.StreamReader()
    flushing = asyncio.create_task(publish_and_flush())
    await asyncio.sleep(0)
    assert socket.written == [b"PUB a  1\r\n1\r\n", b"PING\r\n"]
    await nc._process_pong()
    await flushing


async def test_d7_a_ping_without_a_connection_leaves_what_is_pending_to_the_next():
    nats_patches.install()
    nc = connected(_status=Nats.RECONNECTING, _pending=[b"PUB a  1\r\n1\r\n"])
    nc._transport._io_reader = asyncio.StreamReader()
    await nc._send_ping()
    assert nc._pending == [b"PUB a  1\r\n1\r\n"]


async def test_d9_a_ping_over_a_closing_socket_leaves_what_is_pending():
    nats_patches.install()
    socket = Socket(closing=True)
    nc = connected(socket, _pending=[b"PUB a  1\r\n1\r\n"], _flusher_task=asyncio.Future())
    nc._transport._io_reader = asyncio.StreamReader()
    await nc._send_ping()
    assert nc._pending == [b"PUB a  1\r\n1\r\n"]


async def test_d9_headers_and_payload_above_the_limit_of_the_server_are_an_error():
    nc = connected(_max_payload=30)
    assert send(nc, "a", b"1" * 30)
    with pytest.raises(MaxPayloadError):
        send(nc, "a", b"1" * 10, "", {"name": "value"})
