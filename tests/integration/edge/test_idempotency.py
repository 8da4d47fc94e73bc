"""D7: requests with one Idempotency-Key are called once, at whichever edge process they arrive."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

import pytest
from msgspec import Raw
from nats.aio.client import Client as Nats

from penstock.bus.connection import close, connect
from penstock.bus.ids import new_id
from penstock.cli.local.nats_server import NatsServer
from penstock.contract.request import ChatRequest
from penstock.contract.streams import IDEMPOTENCY, REPLIES
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure
from services.edge.auth.identity import Identity
from services.edge.http.errors import HttpError
from services.edge.requests.idempotency import IdempotencyKeys, fingerprint
from services.edge.requests.options import RequestOptions
from tests.harness.processes.process import Process
from tests.harness.processes.system import System
from tests.harness.requests.edge_client import Response, chat_body, open_stream, read_stream, request
from tests.harness.requests.pictures import conversation
from tests.harness.suite.waiting import until


@pytest.fixture(autouse=True)
async def normal_answers(system: System) -> AsyncIterator[None]:
    yield
    await system.release_answers()


@pytest.fixture
async def nc(system: System) -> AsyncIterator[Nats]:
    connection = await connect(system.nats.url, name="test")
    yield connection
    await close(connection)


@pytest.fixture
def claims(nc: Nats) -> IdempotencyKeys:
    return IdempotencyKeys(nc)


@pytest.fixture
def headers() -> dict[str, str]:
    return {"idempotency-key": f"order {new_id()}"}


async def count_when_called(system: System, before: int) -> None:
    async def called() -> bool:
        return await system.attempts() > before

    await until(called)


async def test_d7_a_repeated_request_gets_the_stored_answer(
    chat: str, other: str, system: System, headers: dict[str, str]
):
    before = await system.attempts()
    answer = await request("POST", chat, chat_body("Once"), headers=headers)
    again = await request("POST", other, chat_body("Once"), headers=headers)
    assert (answer.status, again.status) == (200, 200)
    assert again.body == answer.body
    assert "idempotent-replayed" not in answer.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["x-penstock-request-id"] == answer.headers["x-penstock-request-id"]
    assert await system.attempts() == before + 1


async def test_d7_an_empty_key_is_a_400_as_it_protects_nothing(chat: str):
    answer = await request("POST", chat, chat_body("Once"), headers={"idempotency-key": ""})
    assert (answer.status, answer.error["param"]) == (400, "idempotency-key")


async def test_d7_a_repeated_stream_has_the_same_events(
    chat: str, other: str, system: System, headers: dict[str, str]
):
    before = await system.attempts()
    body = chat_body("Once, streamed", stream=True)
    events = await read_stream("POST", chat, body, headers=headers)
    assert await read_stream("POST", other, body, headers=headers) == events
    assert events[-1].data == "[DONE]"
    assert await system.attempts() == before + 1


@pytest.mark.parametrize("stream", [True, False])
async def test_d7_a_repeated_request_joins_the_running_one(
    chat: str, other: str, system: System, headers: dict[str, str], *, stream: bool
):
    await system.hold_answers()
    before = await system.attempts()
    body = chat_body("Join", stream=stream)
    first = asyncio.create_task(request("POST", chat, body, headers=headers))
    await count_when_called(system, before)
    second = asyncio.create_task(request("POST", other, body, headers=headers))
    await asyncio.sleep(0.5)
    assert not second.done()
    await system.release_answers()
    answer, joined = await first, await second
    assert (answer.status, joined.status, joined.body) == (200, 200, answer.body)
    assert await system.attempts() == before + 1


async def test_d7_requests_sent_at_the_same_time_are_called_once(
    chat: str, other: str, system: System, headers: dict[str, str]
):
    before = await system.attempts()
    sent = [request("POST", each, chat_body("At once"), headers=headers) for each in (chat, other) * 8]
    answers: list[Response] = await asyncio.gather(*sent)
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert await system.attempts() == before + 1


@pytest.mark.parametrize("stream", [True, False])
async def test_d7_after_a_kill_of_the_edge_the_request_is_joined(
    other: str, system: System, headers: dict[str, str], *, stream: bool
):
    await system.hold_answers()
    victim: Process = system.new_edge()
    await victim.start()
    before = await system.attempts()
    body = chat_body("Killed", stream=stream)
    path = f"{victim.ready['url']}/v1/chat/completions"
    first = asyncio.create_task(request("POST", path, body, headers=headers))
    await count_when_called(system, before)
    victim.kill()
    await asyncio.gather(first, return_exceptions=True)
    again = asyncio.create_task(request("POST", other, body, headers=headers))
    await asyncio.sleep(0.3)
    await system.release_answers()
    assert (await again).status == 200
    assert await system.attempts() == before + 1


async def test_d7_hanging_up_does_not_cancel_a_request_with_a_key(
    chat: str, other: str, system: System, headers: dict[str, str]
):
    await system.hold_answers()
    before = await system.attempts()
    body = chat_body("Hang up", stream=True)
    async with open_stream("POST", chat, body, headers=headers) as stream:
        await anext(stream.events())
    again = asyncio.create_task(read_stream("POST", other, body, headers=headers))
    await asyncio.sleep(0.3)
    await system.release_answers()
    assert (await again)[-1].data == "[DONE]"
    assert await system.attempts() == before + 1


@pytest.mark.parametrize("changed", [chat_body("Other"), chat_body("First", stream=True)])
async def test_d7_the_same_key_with_another_body_is_a_422(
    chat: str, other: str, system: System, headers: dict[str, str], changed: dict[str, object]
):
    assert (await request("POST", chat, chat_body("First"), headers=headers)).status == 200
    before = await system.attempts()
    answer = await request("POST", other, changed, headers=headers)
    assert (answer.status, answer.error["code"]) == (422, "idempotency_key_reused")
    assert (answer.error["param"], answer.headers["x-should-retry"]) == ("idempotency-key", "false")
    assert await system.attempts() == before


async def test_d7_a_failed_request_is_sent_again(
    chat: str, other: str, system: System, headers: dict[str, str]
):
    cancel = {**headers, "x-penstock-on-disconnect": "cancel"}
    await system.hold_answers()
    before = await system.attempts()
    body = chat_body("Again", stream=True)
    async with open_stream("POST", chat, body, headers=cancel) as stream:
        first = await anext(stream.events())

    async def failed() -> bool:
        answer = await request("GET", f"{other}/{first.json['id']}")
        return b"cancelled" in answer.body

    await until(failed)
    await system.release_answers()
    events = await read_stream("POST", other, body, headers=headers)
    assert events[-1].data == "[DONE]"
    assert events[0].json["id"] != first.json["id"]
    assert await system.attempts() == before + 2


async def test_d7_the_keys_of_two_accounts_are_distinct(chat: str, system: System, headers: dict[str, str]):
    stranger = system.new_edge(PENSTOCK_ACCOUNT="stranger")
    await stranger.start()
    try:
        first = await request("POST", chat, chat_body("Mine"), headers=headers)
        path = f"{stranger.ready['url']}/v1/chat/completions"
        second = await request("POST", path, chat_body("Yours"), headers=headers)
    finally:
        stranger.kill()
    assert (first.status, second.status) == (200, 200)
    assert first.json["id"] != second.json["id"]


@pytest.mark.parametrize("stream", [True, False])
async def test_d7_a_request_that_was_recorded_and_never_submitted_is_submitted(
    chat: str, system: System, claims: IdempotencyKeys, headers: dict[str, str], *, stream: bool
):
    """The edge of the first request was killed in between."""
    body = chat_body("Lost", stream=stream)
    lost = ChatRequest(id=new_id(), client="killed", body=Raw(b"{}"))
    sha256 = await fingerprint("/v1/chat/completions", json.dumps(body).encode(), RequestOptions())
    assert await claims.claim(Identity(account="demo"), headers["idempotency-key"], sha256, lost) is lost
    before = await system.attempts()
    answer = await request("POST", chat, body, headers=headers)
    assert answer.status == 200
    assert lost.id in answer.body.decode()
    assert await system.attempts() == before + 1


async def test_d7_the_large_body_of_a_request_that_was_never_submitted_is_stored_again(
    chat: str, system: System, claims: IdempotencyKeys, headers: dict[str, str]
):
    body = {"model": "vision", "messages": conversation(9)}
    lost = ChatRequest(id=new_id(), client="killed", body=Raw(b"{}"))
    sha256 = await fingerprint("/v1/chat/completions", json.dumps(body).encode(), RequestOptions())
    await claims.claim(Identity(account="demo"), headers["idempotency-key"], sha256, lost)
    answer = await request("POST", chat, body, headers=headers)
    assert (answer.status, answer.headers["x-penstock-request-id"]) == (200, lost.id)
    assert (await system.sim("GET", "last_request?model=m-vision"))["messages"] == body["messages"]


async def test_d7_an_answer_that_is_stored_no_more_is_a_409_and_not_called_again(
    chat: str, other: str, system: System, nc: Nats, headers: dict[str, str]
):
    answer = await request("POST", chat, chat_body("Gone"), headers=headers)
    request_id = answer.headers["x-penstock-request-id"]
    await nc.jetstream().purge_stream(REPLIES.name, subject=f"llm.reply.demo.*.{request_id}")
    before = await system.attempts()
    again = await request("POST", other, chat_body("Gone"), headers=headers)
    assert (again.status, again.error["code"]) == (409, "answer_gone")
    assert await system.attempts() == before


async def test_d7_where_nats_would_store_it_again_a_request_without_a_reply_is_not_called_again(
    chat: str, system: System, claims: IdempotencyKeys, headers: dict[str, str]
):
    """Its reply was deleted before its time, and the window in which NATS drops duplicates is over."""
    body = chat_body("Deleted")
    created_ms = time.time_ns() // 1_000_000 - 11 * 60 * 1000
    deleted = ChatRequest(id=new_id(created_ms), client="earlier", body=Raw(b"{}"))
    sha256 = await fingerprint("/v1/chat/completions", json.dumps(body).encode(), RequestOptions())
    await claims.claim(Identity(account="demo"), headers["idempotency-key"], sha256, deleted)
    before = await system.attempts()
    answer = await request("POST", chat, body, headers=headers)
    assert (answer.status, answer.error["code"]) == (409, "answer_gone")
    assert await system.attempts() == before


async def test_d7_a_key_counts_for_one_api_key_of_one_account(claims: IdempotencyKeys):
    key, senders = new_id(), [Identity(account=a, key=k) for a in ("demo", "b") for k in ("", "one", "two")]
    for sender in senders:
        sent = ChatRequest(id=new_id(), client="edge", body=Raw(b"{}"))
        assert await claims.claim(sender, key, "0", sent) is sent
    again = ChatRequest(id=new_id(), client="edge", body=Raw(b"{}"))
    assert (await claims.claim(senders[0], key, "0", again)).id != again.id


async def test_d7_a_full_bucket_rejects_new_keys_and_knows_the_old_ones(own_nats_server: NatsServer):
    nc = await connect(own_nats_server.url, name="test")
    try:
        js = nc.jetstream()
        await ensure(js, JetStreamPlan(ack_wait_s=10))
        config = (await js.stream_info(f"KV_{IDEMPOTENCY.name}")).config
        assert (config.max_msgs, config.max_age) == (IDEMPOTENCY.max_messages, 900)
        await js.update_stream(config.evolve(max_msgs=1))
        claims, sender = IdempotencyKeys(nc), Identity(account="demo")
        sent = [ChatRequest(id=new_id(), client="edge", body=Raw(b"{}")) for _ in range(3)]
        assert await claims.claim(sender, "one", "0", sent[0]) is sent[0]
        with pytest.raises(HttpError) as caught:
            await claims.claim(sender, "two", "0", sent[1])
        assert (caught.value.status, caught.value.code) == (429, "overloaded")
        assert (await claims.claim(sender, "one", "0", sent[2])).id == sent[0].id
    finally:
        await close(nc)


async def test_d7_a_key_that_is_too_long_is_a_400(chat: str):
    answer = await request("POST", chat, chat_body("Long"), headers={"idempotency-key": "k" * 256})
    assert (answer.status, answer.error["param"]) == (400, "idempotency-key")
