"""Processes that submit the same large request leave only the body that it needs (issue 9, decision 0026)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec import Raw
from nats.aio.client import Client as Nats

from penstock import NotAccepted
from penstock.bus.large_bodies import delete_body, read_body, reference_to
from penstock.client import submit as submit_module
from penstock.client.submit import EncodedRequest, encode_request, submit
from penstock.contract import codec, subjects
from penstock.contract.intake.subjects import intake
from penstock.contract.reply import Failed, Failure
from penstock.contract.request import ChatRequest
from penstock.contract.streams import BODIES, REQUESTS
from penstock.contract.subjects import ReplyAddress

BODY = Raw(b'{"messages": [{"role": "user", "content": "' + b"x" * 9 * 1024 * 1024 + b'"}]}')


@pytest.fixture
async def address(provisioned: Nats, unique: str) -> AsyncIterator[ReplyAddress]:
    address = ReplyAddress(unique, "client", "request")
    yield address
    await delete_body(provisioned, address)
    await provisioned.jetstream().purge_stream(REQUESTS.name, subject=intake(address.account, "chat"))


async def encoded(nc: Nats, address: ReplyAddress) -> EncodedRequest:
    return await encode_request(nc, ChatRequest(id=address.id, client=address.client, body=BODY))


async def uploads(nc: Nats, address: ReplyAddress) -> dict[str, int]:
    """The number of stored parts of each upload."""
    info = await nc.jetstream().stream_info(BODIES.name, subjects_filter=subjects.body_parts(address))
    counts: dict[str, int] = {}
    for subject in info.state.subjects or {}:
        upload = subject.split(".")[-2]
        counts[upload] = counts.get(upload, 0) + 1
    return counts


async def end(nc: Nats, address: ReplyAddress) -> None:
    """As a router does that rejects the request."""
    failed = Failed(id=address.id, seq=0, error=Failure(code="unknown_role", message="", retry="never"))
    await nc.jetstream().publish(address.subject, codec.encode(failed))
    await delete_body(nc, address)


async def test_d7_a_repetition_of_a_queued_request_leaves_the_body_of_the_first(
    provisioned: Nats, address: ReplyAddress
):
    request = await encoded(provisioned, address)
    await submit(provisioned, address.account, request, timeout_s=10)
    first = await uploads(provisioned, address)
    for _ in range(2):
        await submit(provisioned, address.account, request, timeout_s=10, repeated=True)
    assert await uploads(provisioned, address) == first
    assert await read_body(provisioned, address, await reference_to(BODY)) == bytes(BODY)


@pytest.mark.parametrize("repeated", [False, True])
async def test_d9_a_repetition_after_the_end_of_the_request_leaves_nothing(
    provisioned: Nats, address: ReplyAddress, *, repeated: bool
):
    """`repeated` False: the first process was frozen, and another one submitted the request meanwhile."""
    request = await encoded(provisioned, address)
    await submit(provisioned, address.account, request, timeout_s=10, repeated=not repeated)
    await end(provisioned, address)
    await submit(provisioned, address.account, request, timeout_s=10, repeated=repeated)
    assert await uploads(provisioned, address) == {}


@pytest.mark.parametrize("repeated", [False, True])
async def test_d8_a_process_that_is_left_while_it_stores_the_body_keeps_that_of_the_other(
    provisioned: Nats, address: ReplyAddress, *, repeated: bool
):
    request = await encoded(provisioned, address)
    storing = asyncio.create_task(
        submit(provisioned, address.account, request, timeout_s=10, repeated=repeated)
    )
    while not await uploads(provisioned, address):
        await asyncio.sleep(0)
    await submit(provisioned, address.account, request, timeout_s=10, repeated=not repeated)
    again = asyncio.create_task(submit(provisioned, address.account, request, timeout_s=10, repeated=True))
    await asyncio.sleep(0.005)
    for task in (storing, again):
        task.cancel()
    await asyncio.wait([storing, again])
    assert len(await uploads(provisioned, address)) == 1
    assert await read_body(provisioned, address, await reference_to(BODY)) == bytes(BODY)


@pytest.mark.parametrize("has_ended", [False, True])
async def test_d9_a_process_that_gets_no_acknowledgement_leaves_the_body_to_a_request_that_has_not_ended(
    provisioned: Nats, address: ReplyAddress, monkeypatch: pytest.MonkeyPatch, *, has_ended: bool
):
    request = await encoded(provisioned, address)
    if has_ended:
        await end(provisioned, address)

    async def no_acknowledgement(*_: object, **__: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(submit_module, "store_or_refuse", no_acknowledgement)
    with pytest.raises(NotAccepted):
        await submit(provisioned, address.account, request, timeout_s=10)
    assert len(await uploads(provisioned, address)) == (0 if has_ended else 1)
