"""D7: a message is stored once, also across a restart of the server; a full stream rejects it."""

from __future__ import annotations

import asyncio
import gc
import sys
from datetime import UTC, datetime, timedelta

import msgspec
import nats.errors
import pytest
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.errors import Error, MaxPayloadError
from nats.js.errors import APIError, NoStreamResponseError

from penstock.bus.clock import loop_now_s
from penstock.bus.publish import StreamFull, store
from penstock.bus.wire.sending import has_room, publish_all, send
from penstock.bus.write_check import StreamNotWritable, not_writable, publish_checked, written_s
from penstock.contract.headers import EXPECTED_LAST, MESSAGE_ID, REPEATED
from tests.harness.nats.failing_disk import allow_writes, refuse_writes
from tests.harness.suite.waiting import until


async def test_d7_one_id_is_stored_once(nc, unique):
    js = nc.jetstream()
    await js.add_stream(name=unique, subjects=[f"{unique}.>"])
    assert await store(js, f"{unique}.a", b"first", message_id="1") is True
    assert await store(js, f"{unique}.a", b"second", message_id="1") is False
    assert await store(js, f"{unique}.a", b"third", message_id="2", headers={"A": "b"}) is True
    info = await js.stream_info(unique)
    assert info.state.messages == 2
    last = await js.get_msg(unique, 2)
    assert (last.data, last.headers["A"]) == (b"third", "b")
    assert REPEATED not in last.headers


async def test_d7_an_acknowledgement_is_delivered_without_the_task_that_reads(nc, unique, monkeypatch):
    js = nc.jetstream()
    await js.add_stream(name=unique, subjects=[unique])
    read: list[bytes] = []
    parse = nc._ps.parse

    async def note(data: bytes) -> None:
        read.append(data)
        await parse(data)

    monkeypatch.setattr(nc._ps, "parse", note)
    for number in range(5):
        assert await store(js, unique, b"x", message_id=f"{number}")
    assert read == []
    await nc.flush()
    assert read == [b"PONG\r\n"]


async def test_c3_a_full_stream_rejects_a_message(nc, unique):
    js = nc.jetstream()
    await js.add_stream(name=unique, subjects=[unique], max_msgs=1, discard="new", retention="workqueue")
    assert await store(js, unique, b"fits", message_id="1")
    with pytest.raises(StreamFull, match="maximum messages"):
        await store(js, unique, b"does not", message_id="2")


async def test_d7_without_a_stream_publishing_fails_in_time(nc, unique):
    began_s = asyncio.get_running_loop().time()
    with pytest.raises(NoStreamResponseError):
        await store(nc.jetstream(), unique, b"x", message_id="1", timeout_s=0.3)
    assert 0.2 < asyncio.get_running_loop().time() - began_s < 2


async def test_d7_a_message_that_was_sent_again_is_freed_without_a_garbage_collection(nc, unique):
    """Large bodies would stay in memory for long, because their process creates few objects."""
    payload = bytes(bytearray(1000))
    references = sys.getrefcount(payload)
    gc.disable()
    try:
        storing = asyncio.create_task(store(nc.jetstream(), unique, payload, message_id="1"))
        await asyncio.sleep(0.1)  # there is no stream yet
        await nc.jetstream().add_stream(name=unique, subjects=[unique])
        assert await storing
        del storing
        await asyncio.sleep(0)
        assert sys.getrefcount(payload) == references
    finally:
        gc.enable()


async def test_d7_without_a_server_publishing_fails_in_time(own_nats_server, own_nc, unique):
    await own_nc.jetstream().add_stream(name=unique, subjects=[unique])
    own_nats_server.kill()
    began_s = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError):
        await store(own_nc.jetstream(), unique, b"x", message_id="1", timeout_s=0.5)
    assert asyncio.get_running_loop().time() - began_s < 2


async def test_d7_a_message_too_large_is_not_retried(nc, unique):
    with pytest.raises(MaxPayloadError):
        await store(nc.jetstream(), unique, bytes(9 * 1024 * 1024), message_id="1")


@pytest.mark.parametrize("how", ["restart", "kill"])
async def test_d7_messages_published_during_an_outage_are_stored_once(own_nats_server, own_nc, unique, how):
    js = own_nc.jetstream()
    await js.add_stream(name=unique, subjects=[unique])
    storing = [
        asyncio.create_task(store(js, unique, b"%d" % number, message_id=str(number))) for number in range(50)
    ]
    await asyncio.sleep(0)
    if how == "kill":
        own_nats_server.kill()
    await own_nats_server.restart()
    await asyncio.wait_for(asyncio.gather(*storing), 15)
    bodies = sorted([int((await js.get_msg(unique, seq)).data) for seq in range(1, 51)])
    assert bodies == list(range(50))
    assert (await js.stream_info(unique)).state.messages == 50


@pytest.mark.parametrize(
    ("subject", "parts"),
    [
        ("llm.nowhere.{unique}", ("from llm.nowhere.", "JetStream enabled", "creates at its start")),
        ("llm.request.{unique}", ("from LLM_REQUESTS yet", "the stream LLM_REQUESTS")),
    ],
)
async def test_d10_a_missing_acknowledgement_warns_once_with_advice(own_nc, unique, caplog, subject, parts):
    subject = subject.format(unique=unique)
    with pytest.raises(NoStreamResponseError):
        await store(own_nc.jetstream(), subject, b"x", message_id="1", timeout_s=1.0)
    (record,) = [each for each in caplog.records if each.name == "penstock.bus.publish"]
    assert all(part in record.getMessage() for part in parts), record.getMessage()


async def test_d10_a_burst_without_a_server_warns_once(own_nats_server, own_nc, unique, caplog):
    await own_nc.jetstream().add_stream(name=unique, subjects=[f"{unique}.>"])
    own_nats_server.kill()

    async def one(number: int) -> None:
        with pytest.raises((TimeoutError, Error)):
            await store(own_nc.jetstream(), f"{unique}.{number}", b"x", message_id=str(number), timeout_s=2.5)

    await asyncio.gather(*(one(number) for number in range(100)))
    await own_nats_server.start()
    await until(lambda: own_nc.is_connected)
    warnings = [each.getMessage() for each in caplog.records if each.name == "penstock.bus.publish"]
    assert len(warnings) == 1
    assert "NATS is reachable" in warnings[0]


async def test_d7_messages_that_are_published_as_one_write_arrive_in_order(nc: Nats, unique: str) -> None:
    received: list[tuple[str, bytes]] = []

    async def note(msg: Msg) -> None:
        received.append((msg.subject, msg.data))

    await nc.subscribe(f"{unique}.*", cb=note)
    messages = [(f"{unique}.{number}", b"\r\n" * number) for number in range(500)]
    before = nc.stats["out_msgs"]
    await publish_all(nc, messages)
    await nc.publish(f"{unique}.last", b"")
    await until(lambda: len(received) > 500)
    assert received == [*messages, (f"{unique}.last", b"")]
    assert nc.stats["out_msgs"] == before + 501


async def test_d7_messages_that_are_sent_directly_arrive_in_order_with_the_others(
    nc: Nats, unique: str
) -> None:
    received: list[bytes] = []

    async def note(msg: Msg) -> None:
        received.append(msg.data)

    await nc.subscribe(unique, cb=note)
    before = dict(nc.stats)
    for number in range(200):
        payload = b"%d\r\n" % number
        if number % 3:
            assert send(nc, unique, payload)
        else:
            await nc.publish(unique, payload)
    sent = [b"%d\r\n" % number for number in range(200)]
    await until(lambda: received == sent)
    assert nc.stats["out_msgs"] == before["out_msgs"] + 200
    assert nc.stats["out_bytes"] == before["out_bytes"] + sum(map(len, sent))
    assert nc._pending_data_size == 0


async def test_k7_what_is_sent_in_one_iteration_is_one_write_without_the_flusher_of_nats_py(
    nc: Nats, unique: str, monkeypatch
) -> None:
    received: list[bytes] = []
    written: list[bytes] = []
    flushed: list[bool] = []
    socket = nc._transport._io_writer.transport
    write, flush = socket.writelines, nc._flush_pending
    every = asyncio.Event()

    async def note(msg: Msg) -> None:
        received.append(msg.data)
        if len(received) == 3:
            every.set()

    await nc.subscribe(f"{unique}.>", cb=note)
    await nc.flush()

    def write_and_note(lines: list[bytes]) -> None:
        written.append(b"".join(lines))
        write(lines)

    async def flush_and_note(*args: bool) -> None:
        flushed.append(True)
        await flush(*args)

    monkeypatch.setattr(socket, "writelines", write_and_note)
    monkeypatch.setattr(nc, "_flush_pending", flush_and_note)
    for number in range(3):
        await nc.publish(f"{unique}.{number}", b"%d" % number)
    await asyncio.wait_for(every.wait(), 10)
    assert received == [b"0", b"1", b"2"]
    assert written == ["".join(f"PUB {unique}.{number}  1\r\n{number}\r\n" for number in range(3)).encode()]
    assert flushed == []


async def test_d7_there_is_room_for_what_is_sent_until_the_buffer_is_full_or_the_connection_lost(
    own_nats_server, own_nc, unique
):
    payload = b"x" * 10_000
    command = f"PUB {unique}  {len(payload)}\r\n".encode() + payload + b"\r\n"
    while has_room(own_nc, len(command)):
        assert send(own_nc, unique, payload)
    assert not send(own_nc, unique, payload)
    assert own_nc._pending_data_size + len(command) > own_nc._max_pending_size
    await own_nc.flush()
    assert has_room(own_nc, own_nc.max_payload)
    assert not has_room(own_nc, own_nc.max_payload + 1)
    own_nats_server.kill()
    await until(lambda: not own_nc.is_connected)
    assert not has_room(own_nc, 0)


async def test_publishing_leaves_nothing_behind_however_it_ends(nc, unique):
    js = nc.jetstream()
    await js.add_stream(name=unique, subjects=[unique])
    headers = {"A": "b"}
    await publish_checked(js, unique, b"x", stream=unique, headers=headers, timeout_s=2)
    with pytest.raises(NoStreamResponseError):
        await publish_checked(js, f"{unique}.no", b"x", stream=unique, headers=headers, timeout_s=2)
    await nc.subscribe(f"{unique}.mute")  # it responds to nothing
    with pytest.raises(TimeoutError):
        await publish_checked(js, f"{unique}.mute", b"x", stream=unique, headers=headers, timeout_s=0.1)
    cancelled = asyncio.create_task(
        publish_checked(js, f"{unique}.mute", b"x", stream=unique, headers=headers, timeout_s=5)
    )
    await asyncio.sleep(0.01)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    await asyncio.sleep(0)
    assert cancelled.cancelled()
    assert nc._resp_map == {}


async def test_a_stream_that_cannot_be_written_counts_as_such_until_it_stores_a_message(
    own_nats_server, own_nc, unique
):
    """The server answers to a wrong last sequence, and to a message that is stored already, before it writes."""
    js = own_nc.jetstream()
    await js.add_stream(name=unique, subjects=[unique])

    async def publish(headers: dict[str, str]) -> None:
        await publish_checked(js, unique, b"x", stream=unique, headers=headers, timeout_s=3)

    await publish({MESSAGE_ID: "1"})
    began_s = written_s(js, unique)
    assert began_s > 0
    refuse_writes(own_nats_server.pid)
    with pytest.raises(StreamNotWritable):
        await publish({})
    allow_writes(own_nats_server.pid)
    with pytest.raises(APIError, match="wrong last sequence"):
        await publish({EXPECTED_LAST: "99"})
    await publish({MESSAGE_ID: "1"})
    assert not_writable(js) == {unique}
    assert written_s(js, unique) == began_s
    await own_nats_server.restart()
    await until(lambda: own_nc.is_connected)
    await publish({})
    assert not_writable(js) == frozenset()
    assert written_s(js, unique) > began_s


@pytest.mark.parametrize("led_for_s", [None, 3600.0])
async def test_d7_a_message_may_be_lost_with_the_former_leader_of_its_stream(
    nc, unique, monkeypatch, led_for_s
):
    """`led_for_s`: for how long the leader leads when it is asked; None: it was elected after the first message."""
    js, began_s = nc.jetstream(), loop_now_s()

    async def answer(subject: str, timeout: float) -> Msg:
        assert subject == f"$JS.API.STREAM.INFO.{unique}"
        now, led_s = datetime.now(UTC), led_for_s or loop_now_s() - began_s - 0.2
        info = {
            "state": {"last_seq": 7},
            "ts": now,
            "cluster": {"leader_since": now - timedelta(seconds=led_s)},
        }
        return Msg(nc, data=msgspec.json.encode(info))

    async def publish() -> None:
        await publish_checked(js, unique, b"x", stream=unique, headers={}, timeout_s=5)

    monkeypatch.setattr(nc, "request", answer)
    await nc.subscribe(unique)  # it acknowledges nothing
    if led_for_s is None:
        with pytest.raises(nats.errors.TimeoutError):
            await publish()
        assert not_writable(js) == set()
    with pytest.raises(StreamNotWritable):
        await publish()
    assert not_writable(js) == {unique}
