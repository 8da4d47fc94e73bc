"""A request that is sent again while it waits for a router is accepted, and one under the id of another is not (D6)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from msgspec import Raw
from nats.aio.client import Client as Nats

from penstock import IdTaken
from penstock.bus.ids import new_id
from penstock.client.submit import EncodedRequest, encode_request, submit
from penstock.contract import headers, subjects
from penstock.contract.names import LANES, Lane
from penstock.contract.request import ChatRequest
from penstock.contract.streams import REQUESTS

BODY = Raw(b'{"messages": [{"role": "user", "content": "Hello"}]}')


@pytest.fixture
async def nc(provisioned: Nats) -> AsyncIterator[Nats]:
    await provisioned.jetstream().purge_stream(REQUESTS.name)
    yield provisioned
    await provisioned.jetstream().purge_stream(REQUESTS.name)


async def encoded(nc: Nats, lane: Lane) -> EncodedRequest:
    return await encode_request(nc, ChatRequest(id=new_id(), client="client", body=BODY, lane=lane))


@pytest.mark.parametrize("lane", LANES)
async def test_an_own_request_that_waits_may_be_sent_again(nc: Nats, unique: str, lane: Lane):
    request = await encoded(nc, lane)
    for _ in range(2):
        await submit(nc, unique, request, timeout_s=10)
    assert (await nc.jetstream().stream_info(REQUESTS.name)).state.messages == 1


@pytest.mark.parametrize("lane", LANES)
async def test_a_request_whose_id_a_waiting_message_of_another_account_has_is_not_accepted(
    nc: Nats, unique: str, lane: Lane
):
    request = await encoded(nc, lane)
    message_id = headers.request_message_id(unique, request.client, request.id)
    await nc.jetstream().publish(
        subjects.request("mallory", "chat", lane), b"{}", headers={headers.MESSAGE_ID: message_id}
    )
    with pytest.raises(IdTaken):
        await submit(nc, unique, request, timeout_s=10)
