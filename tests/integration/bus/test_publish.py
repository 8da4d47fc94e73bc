"""D7: a message is stored once, also across a restart of the server; a full stream rejects it."""

from __future__ import annotations

import asyncio

import pytest
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.errors import Error, MaxPayloadError
from nats.js.errors import NoStreamResponseError

from penstock.bus.nats_patches import publish_all
from penstock.bus.publish import StreamFull, store
from penstock.contract.headers import REPEATED
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


async def test_messages_that_are_published_as_one_write_arrive_in_order(nc: Nats, unique: str) -> None:
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
