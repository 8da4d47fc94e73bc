"""Messages are delivered to a direct callback once and in order, however the bytes are split (D7, D9)."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.aio.transport import TcpTransport
from nats.errors import ProtocolError

from penstock.bus.nats_patches import _read_at_once, install
from penstock.bus.wire.receiving import read_messages, subscribe_directly

install()

Seen = tuple[str, str, bytes, dict[str, str] | None]
BLOCKS: Final = (b"NATS/1.0\r\na: b\r\n\r\n", b"NATS/1.0 404 No Messages\r\n\r\n", b"junk", None)
HEADERS: Final = ({"a": "b"}, {"Status": "404", "Description": "No Messages"}, None, None)
MESSAGES: Final = st.lists(
    st.tuples(
        st.sampled_from((b"x", b"y\x0b")),
        st.sampled_from((b"", b"r")),
        st.binary(max_size=12),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=6,
)


def wire(sid: int, subject: bytes, reply: bytes, data: bytes, block: bytes | None) -> bytes:
    head = b"%b %d%b" % (subject, sid, b" " + reply if reply else b"")
    if block is None:
        return b"MSG %b %d\r\n%b\r\n" % (head, len(data), data)
    return b"HMSG %b %d %d\r\n%b%b\r\n" % (head, len(block), len(block) + len(data), block, data)


async def connected() -> Nats:
    """A connection that is not made, of which subscriptions are not sent."""
    nc = Nats()
    nc._status = Nats.CONNECTED
    nc._flush_queue = asyncio.Queue()
    nc._flusher_task = asyncio.Future()
    return nc


def seen(msg: Msg) -> Seen:
    return msg.subject, msg.reply, msg.data, msg.headers


async def feed(nc: Nats, data: bytes, splits: list[int], *, at_once: bool) -> None:
    """Feed `data` in parts, as a socket does."""
    transport = TcpTransport()
    reader = transport._io_reader = asyncio.StreamReader()
    nc._transport, nc.options = transport, {"allow_reconnect": False}
    if at_once:
        _read_at_once(nc, reader)
    reading = asyncio.create_task(nc._read_loop())
    await asyncio.sleep(0)
    ends = sorted({min(split, len(data)) for split in splits} | {len(data)})
    for begin, end in zip([0, *ends], ends, strict=False):
        reader.feed_data(data[begin:end])
        if (begin + end) % 3:  # the task does not always come between
            await asyncio.sleep(0)
    while reader._buffer:
        await asyncio.sleep(0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)


@pytest.mark.parametrize("at_once", [False, True])
@given(messages=MESSAGES, splits=st.lists(st.integers(0, 400), max_size=6))
async def test_d7_every_message_is_delivered_once_and_in_order(
    messages: list[tuple[bytes, bytes, bytes, int]], splits: list[int], at_once: bool
):
    nc, received = await connected(), []
    subscription = await subscribe_directly(nc, ">", lambda msg: received.append(seen(msg)))
    data = b"".join(
        wire(subscription._id, subject, reply, body, BLOCKS[form]) for subject, reply, body, form in messages
    )
    await feed(nc, data, splits, at_once=at_once)
    assert received == [
        (subject.decode(), reply.decode(), body, HEADERS[form]) for subject, reply, body, form in messages
    ]
    assert (subscription.delivered, nc.stats["in_msgs"]) == (len(messages), len(messages))
    assert nc.stats["in_bytes"] == sum(len(body) for _, _, body, _ in messages)


async def test_ordinary_messages_need_no_task_and_others_are_left_to_nats_py():
    nc, received = await connected(), []
    direct = await subscribe_directly(nc, "a", lambda msg: received.append(msg.data))
    queued = await nc.subscribe("b")
    first = wire(direct._id, b"a", b"", b"1", BLOCKS[0]) + wire(direct._id, b"a", b"", b"2", None)
    rest = wire(queued._id, b"b", b"", b"3", None) + wire(direct._id, b"a", b"", b"4", None)
    assert read_messages(nc, first + rest) == len(first)
    assert received == [b"1", b"2"]
    await feed(nc, rest, [], at_once=True)
    assert (received, queued.pending_msgs) == ([b"1", b"2", b"4"], 1)


@pytest.mark.parametrize("failure", [ValueError, asyncio.CancelledError])
async def test_d9_a_callback_that_fails_is_reported_and_the_next_message_is_delivered(
    failure: type[BaseException],
):
    nc, received, errors = await connected(), [], []

    def receive(msg: Msg) -> None:
        received.append(msg.data)
        raise failure(msg.data)

    async def report(error: Exception) -> None:
        errors.append(str(error))

    nc._error_cb = report
    subscription = await subscribe_directly(nc, "a", receive)
    await feed(nc, wire(subscription._id, b"a", b"", b"1", None) * 2, [], at_once=True)
    await asyncio.sleep(0)
    assert (received, errors) == ([b"1", b"1"], ["b'1'", "b'1'"])


async def test_d9_an_error_while_messages_are_read_ends_the_connection(caplog: pytest.LogCaptureFixture):
    nc = await connected()
    reader = asyncio.StreamReader()
    _read_at_once(nc, reader)
    reading = asyncio.create_task(reader.read(10))
    await asyncio.sleep(0)
    nc._subs = None
    reader.feed_data(wire(1, b"a", b"", b"1", None))
    with pytest.raises(ProtocolError) as caught:
        await reading
    assert isinstance(caught.value, ProtocolError)
    assert "data from the server cannot be read" in caplog.text


async def test_no_message_comes_after_the_subscription_ended():
    nc, received = await connected(), []
    subscription = await subscribe_directly(nc, "a", lambda msg: received.append(msg.data))
    data = wire(subscription._id, b"a", b"", b"1", None)
    await subscription.unsubscribe()
    await feed(nc, data, [], at_once=True)
    assert received == []
