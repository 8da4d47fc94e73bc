"""Stored bodies: replaced, read while NATS restarts, and deleted (issue 9)."""

from __future__ import annotations

import asyncio
import random

import pytest
from nats.aio.client import Client as Nats

from penstock.bus.large_bodies import BodyLost, BodyUpload, delete_body, read_body, reference_to
from penstock.cli.local.nats_server import NatsServer
from penstock.contract import subjects
from penstock.contract.streams import BODIES, BODY_PART_BYTES
from penstock.contract.subjects import ReplyAddress
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure

BODY = random.Random(1).randbytes(5 * BODY_PART_BYTES + 17)


@pytest.fixture
def address(unique: str) -> ReplyAddress:
    return ReplyAddress("demo", "client", unique)


async def parts(nc: Nats, address: ReplyAddress) -> int:
    info = await nc.jetstream().stream_info(BODIES.name, subjects_filter=subjects.body_parts(address))
    return len(info.state.subjects or {})


async def test_a_body_may_be_stored_again_at_any_time_and_is_gone_after_its_deletion(
    provisioned: Nats, address: ReplyAddress
):
    ref = await reference_to(BODY)
    await BodyUpload(provisioned, address).store(BODY, timeout_s=5)
    await BodyUpload(provisioned, address).store(BODY, timeout_s=5)
    assert await read_body(provisioned, address, ref) == BODY

    await delete_body(provisioned, address)
    await delete_body(provisioned, address)
    with pytest.raises(BodyLost, match="0 of its"):
        await read_body(provisioned, address, ref)
    await BodyUpload(provisioned, address).store(BODY, timeout_s=5)
    assert await read_body(provisioned, address, ref) == BODY
    await delete_body(provisioned, address)


@pytest.mark.parametrize("order", ["first, other", "other, first", "other begins, first, other ends"])
async def test_d7_the_end_of_an_upload_keeps_what_another_process_stored_for_the_same_request(
    provisioned: Nats, address: ReplyAddress, order: str
):
    first, other = BodyUpload(provisioned, address), BodyUpload(provisioned, address)
    if order == "first, other":
        await first.store(BODY, timeout_s=5)
        await other.store(BODY, timeout_s=5)
    elif order == "other, first":
        await other.store(BODY, timeout_s=5)
        await first.store(BODY, timeout_s=5)
    else:
        storing = asyncio.create_task(other.store(BODY, timeout_s=5))
        while await parts(provisioned, address) < 2:
            await asyncio.sleep(0)
        await first.store(BODY[: 2 * BODY_PART_BYTES], timeout_s=5)
        await storing
    await first.undo()
    assert await read_body(provisioned, address, await reference_to(BODY)) == BODY
    await other.undo()
    assert await parts(provisioned, address) == 0


async def test_an_upload_that_was_cancelled_leaves_nothing(provisioned: Nats, address: ReplyAddress):
    upload = BodyUpload(provisioned, address)
    storing = asyncio.create_task(upload.store(BODY, timeout_s=5))
    while await parts(provisioned, address) < 2:
        await asyncio.sleep(0)
    storing.cancel()
    await asyncio.wait([storing])
    await upload.undo()
    assert await parts(provisioned, address) == 0


async def test_the_deletion_of_a_body_leaves_those_of_other_requests(
    provisioned: Nats, address: ReplyAddress
):
    other = address._replace(id=f"{address.id}x")
    for each in (address, other):
        await BodyUpload(provisioned, each).store(b"body", timeout_s=5)
    await delete_body(provisioned, address)
    assert await read_body(provisioned, other, await reference_to(b"body")) == b"body"
    await delete_body(provisioned, other)


async def test_d9_a_body_is_stored_and_read_across_a_restart_of_nats(
    own_nc: Nats, own_nats_server: NatsServer, address: ReplyAddress
):
    await ensure(own_nc.jetstream(), JetStreamPlan(ack_wait_s=10))
    own_nats_server.kill()
    storing = asyncio.create_task(BodyUpload(own_nc, address).store(BODY, timeout_s=20))
    await asyncio.sleep(0.2)
    await own_nats_server.restart()
    await storing
    own_nats_server.kill()
    reading = asyncio.create_task(read_body(own_nc, address, await reference_to(BODY)))
    await asyncio.sleep(0.2)
    await own_nats_server.restart()
    assert await reading == BODY


async def test_d9_a_body_is_deleted_once_nats_is_back(
    own_nc: Nats, own_nats_server: NatsServer, address: ReplyAddress
):
    await ensure(own_nc.jetstream(), JetStreamPlan(ack_wait_s=10))
    await BodyUpload(own_nc, address).store(BODY, timeout_s=5)
    own_nats_server.kill()
    deleting = asyncio.create_task(delete_body(own_nc, address))
    await asyncio.sleep(0.2)
    await own_nats_server.restart()
    await deleting
    assert await parts(own_nc, address) == 0


async def test_d9_a_deletion_that_nats_does_not_answer_is_logged_and_ends(
    own_nc: Nats, own_nats_server: NatsServer, address: ReplyAddress, caplog: pytest.LogCaptureFixture
):
    own_nats_server.kill()
    async with asyncio.timeout(10):
        await delete_body(own_nc, address)
    assert "is not deleted and will expire" in caplog.text
    await own_nats_server.restart()  # with data in its buffer, a lost connection cannot be closed
    while not own_nc.is_connected:
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("wrong", ["*", ">", "a.b", ""])
async def test_k1_an_address_with_a_wildcard_neither_reads_nor_deletes_bodies(
    provisioned: Nats, address: ReplyAddress, wrong: str
):
    await BodyUpload(provisioned, address).store(b"body", timeout_s=5)
    await delete_body(provisioned, address._replace(id=wrong))
    assert await parts(provisioned, address) == 1
    with pytest.raises(BodyLost, match="not a valid subject token"):
        await read_body(provisioned, address._replace(id=wrong), await reference_to(b"body"))
    await delete_body(provisioned, address)
