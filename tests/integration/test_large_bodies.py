"""Requests that exceed a NATS message: their bodies go through LLM_BODIES and are deleted at the end (issue 9)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
from msgspec import Raw
from msgspec.structs import replace
from nats.aio.client import Client as Nats

from penstock import Client, NotAccepted
from penstock.bus.ids import new_id
from penstock.bus.large_bodies import BodyUpload, delete_body, reference_to
from penstock.cli.local.nats_server import NatsServer
from penstock.client.submit import encode_request, submit
from penstock.contract.codec import encode
from penstock.contract.reply import Completed, Failed, Failure
from penstock.contract.request import NO_BODY, BodyRef, ChatRequest
from penstock.contract.streams import BODIES, BODY_PART_BYTES, MAX_BODY_BYTES, REQUESTS
from penstock.contract.subjects import ReplyAddress, body_part
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.cli_command import run_command
from tests.harness.processes.process import Process
from tests.harness.processes.system import System, shared_system, started
from tests.harness.requests.edge_client import read_stream, request
from tests.harness.requests.jobs import job_in_state
from tests.harness.requests.pictures import conversation
from tests.harness.requests.replies import RawPublisher, ask
from tests.harness.suite.waiting import until

MODEL = "m-vision"
QUICK = {"retry": {"initial_backoff_s": 0.02, "max_backoff_s": 0.1, "same_model_retries": 0}}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = catalogue(
        {"safety": ("refusing--bad-request",)}, role=QUICK, roles={"logic": {**QUICK, "slots_per_worker": 1}}
    )
    with shared_system(tmp_path_factory.mktemp("large"), config=config) as running:
        yield running


@pytest.fixture(scope="module")
def edge(system: System) -> Process:
    return started(system.new_edge())


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    async with await system.client() as connected:
        yield connected


@pytest.fixture
async def publisher(system: System) -> AsyncIterator[RawPublisher]:
    async for each in RawPublisher.opened(system):
        yield each


@pytest.fixture
async def nothing_left(system: System) -> AsyncIterator[None]:
    """After the test, no part of a body is stored."""
    yield
    async for each in RawPublisher.opened(system):
        await all_deleted(each)


async def all_deleted(publisher: RawPublisher) -> None:
    async def none_stored() -> bool:
        return (await publisher.js.stream_info(BODIES.name)).state.messages == 0

    await until(none_stored)


async def received(system: System) -> Any:
    return (await system.sim("GET", f"last_request?model={MODEL}"))["messages"]


@pytest.mark.usefixtures("nothing_left")
async def test_e1_the_provider_receives_a_body_of_20_megabytes_unchanged(system: System, client: Client):
    for stream in (False, True):
        sent = conversation(20 + stream)
        assert (await ask(client, sent, role="vision", stream=stream)).completed.model == MODEL
        assert await received(system) == sent


@pytest.mark.usefixtures("nothing_left")
async def test_e1_a_job_may_have_a_large_body(system: System, client: Client):
    sent = conversation(12)
    job_id = await client.submit(sent, role="vision")
    await job_in_state(client, job_id, "completed")
    assert await received(system) == sent


@pytest.mark.usefixtures("nothing_left")
async def test_e1_the_edge_accepts_a_body_of_20_megabytes(system: System, edge: Process):
    chat, jobs = f"{edge.ready['url']}/v1/chat/completions", f"{edge.ready['url']}/v1/jobs"
    whole = {"model": "vision", "messages": conversation(20.1)}
    answer = await request("POST", chat, whole)
    assert (answer.status, answer.json["model"]) == (200, MODEL)
    assert await received(system) == whole["messages"]

    streamed = {"model": "vision", "messages": conversation(20.2), "stream": True}
    assert (await read_stream("POST", chat, streamed))[-1].data == "[DONE]"
    assert await received(system) == streamed["messages"]

    job = (await request("POST", jobs, {"model": "vision", "messages": conversation(20.3)})).json

    async def completed() -> bool:
        return (await request("GET", f"{jobs}/{job['id']}")).json["state"] == "completed"

    await until(completed)


async def test_d10_the_edge_refuses_a_body_above_its_limit(edge: Process):
    body = {"model": "vision", "messages": conversation(34)}
    answer = await request("POST", f"{edge.ready['url']}/v1/chat/completions", body)
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")


@pytest.mark.usefixtures("nothing_left")
async def test_d8_the_body_of_a_failed_a_cancelled_or_an_expired_request_is_deleted(
    system: System, client: Client
):
    sent = conversation(9)
    assert (await ask(client, sent, role="safety")).code == "provider_refused"
    assert (await ask(client, sent, role="none")).code == "unknown_role"
    await system.hold_answers(0)
    try:
        async with client.stream(sent, role="logic", timeout_s=60) as running:
            async for event in running:
                if event.seq > 0:
                    break
            assert (await ask(client, sent, role="logic", timeout_s=2.5)).code == "deadline_exceeded"
            async with client.stream(sent, role="logic", timeout_s=60) as waiting:
                await client.cancel(waiting.id)
                events = [event async for event in waiting]
            assert isinstance(events[-1], Failed)
            assert events[-1].error.code == "cancelled"
    finally:
        await system.release_answers()  # the running one was cancelled when its block was left


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("again", [{"deadline_ms": 1_700_000_000_000}, {"role": "none"}])
async def test_d7_the_rejection_of_a_second_request_of_the_same_id_keeps_the_body(
    system: System, publisher: RawPublisher, again: dict[str, Any]
):
    body = msgspec.json.encode({"messages": conversation(1), "stream": True})
    sent = large_request(await reference_to(body))
    await BodyUpload(publisher.nc, address(sent)).store(body, timeout_s=5)
    await system.hold_answers(0)
    try:
        await publisher.request(encode(sent))

        async def started() -> bool:
            return len(await publisher.stored(sent.id)) == 2

        await until(started)
        await publisher.request(encode(replace(sent, **again)))

        async def acknowledged() -> bool:
            return (await publisher.js.stream_info(REQUESTS.name)).state.messages == 0

        await until(acknowledged)
        assert (await publisher.js.stream_info(BODIES.name)).state.messages > 0
    finally:
        await system.release_answers()
    assert isinstance(await publisher.end(sent.id), Completed)


async def test_d10_a_body_that_is_lost_while_its_request_is_queued_is_reported(
    system: System, client: Client, publisher: RawPublisher
):
    await system.hold_answers(0)
    try:
        async with client.stream("hello", role="logic", timeout_s=60) as running:
            async for event in running:
                if event.seq > 0:
                    break
            async with client.stream(conversation(9), role="logic", timeout_s=60) as waiting:
                events = aiter(waiting)
                await anext(events)  # accepted
                await publisher.js.purge_stream(BODIES.name)
                await system.release_answers()
                last = [event async for event in events][-1]
    finally:
        await system.release_answers()
    assert isinstance(last, Failed)
    assert (last.error.code, last.error.retry, last.error.retry_after_s) == ("internal", "later", 1.0)
    assert last.error.message.startswith("the body of the request is not stored any more (0 of its")


def large_request(ref: BodyRef) -> ChatRequest:
    return ChatRequest(id=new_id(), client="publisher", body=NO_BODY, body_ref=ref, role="vision")


async def failure_of(publisher: RawPublisher, sent: ChatRequest) -> Failure:
    await publisher.request(encode(sent))
    end = await publisher.end(sent.id)
    assert isinstance(end, Failed)
    return end.error


async def test_d10_a_request_without_its_body_fails_and_says_to_send_it_again(publisher: RawPublisher):
    ref = await reference_to(b"x" * 2 * BODY_PART_BYTES)
    failure = await failure_of(publisher, large_request(ref))
    assert (failure.code, failure.retry, failure.retry_after_s) == ("internal", "later", 1.0)
    assert failure.message.endswith("(0 of its 1,048,576 bytes are stored): send the request again")

    half_stored = large_request(ref)
    await publisher.js.publish(body_part(address(half_stored), "upload", 0), b"x" * BODY_PART_BYTES)
    failure = await failure_of(publisher, half_stored)
    assert "(524,288 of its 1,048,576 bytes are stored)" in failure.message
    await all_deleted(publisher)


async def test_d10_a_body_that_differs_from_its_reference_is_an_invalid_request(publisher: RawPublisher):
    body = json.dumps({"messages": [{"role": "user", "content": "hello"}]}).encode()
    good = await reference_to(body)
    for sent, wrong in (
        (large_request(replace(good, sha256="0" * 64)), "SHA-256"),
        (large_request(replace(good, size=good.size - 1)), "stored parts are not those"),
        (large_request(replace(good, size=0)), "size must be greater than 0"),
        (replace(large_request(good), body=Raw(b"{}")), "exclude each other"),
    ):
        await BodyUpload(publisher.nc, address(sent)).store(body, timeout_s=5)
        failure = await failure_of(publisher, sent)
        assert (failure.code, failure.retry) == ("invalid_request", "never")
        assert wrong in failure.message
        await delete_body(publisher.nc, address(sent))
    failure = await failure_of(publisher, large_request(replace(good, size=MAX_BODY_BYTES + 1)))
    assert failure.code == "request_too_large"


@pytest.mark.parametrize("body", [b'{"messages": []}', b'{"messages": [{}]}', b"{", b'{"a": "\xff"}'])
async def test_d10_a_stored_body_is_checked_as_any_other(publisher: RawPublisher, body: bytes):
    sent = large_request(await reference_to(body))
    await BodyUpload(publisher.nc, address(sent)).store(body, timeout_s=5)
    assert (await failure_of(publisher, sent)).code == "invalid_request"
    await all_deleted(publisher)


async def test_k1_a_request_cannot_refer_to_the_body_of_another_account(publisher: RawPublisher):
    """The address of a body is that of its request, so that there is nothing to forge."""
    body = json.dumps({"messages": [{"role": "user", "content": "secret"}]}).encode()
    sent = large_request(await reference_to(body))
    foreign = ReplyAddress("another", sent.client, sent.id)
    await BodyUpload(publisher.nc, foreign).store(body, timeout_s=5)
    assert "0 of its" in (await failure_of(publisher, sent)).message
    assert (await publisher.js.stream_info(BODIES.name)).state.messages == 1
    await delete_body(publisher.nc, foreign)


async def refuses_a_repeated_request(nc: Nats) -> None:
    """It leaves no part of its body."""
    before = (await nc.jetstream().stream_info(BODIES.name)).state.messages
    body = Raw(msgspec.json.encode({"messages": conversation(9)}))
    repeated = await encode_request(nc, ChatRequest(id=new_id(), client="c", body=body))
    with pytest.raises(NotAccepted, match="fill LLM_BODIES"):
        await submit(nc, "demo", repeated, timeout_s=5, repeated=True)
    assert (await nc.jetstream().stream_info(BODIES.name)).state.messages == before


def address(sent: ChatRequest) -> ReplyAddress:
    return ReplyAddress("demo", sent.client, sent.id)


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Messages of 1 MB, nats-server's default, and a store for bodies of 102 MiB."""
    directory = tmp_path_factory.mktemp("small")
    nats = NatsServer(directory / "nats", extra_config="max_payload: 1MB")
    with shared_system(
        directory, config=catalogue(role=QUICK), env={"PENSTOCK_STORE_SCALE": "0.1"}, nats=nats
    ) as running:
        yield running


async def test_e1_a_server_with_small_messages_serves_large_requests(small_server: System):
    edge = small_server.new_edge()
    await edge.start()
    async with await small_server.client() as client:
        assert client._nc.max_payload == 1024 * 1024
        for megabytes in (1, 20):
            sent = conversation(megabytes)
            assert (await client.chat(sent, role="vision")).model == MODEL
            assert await received(small_server) == sent
        sent = conversation(3)
        chat = f"{edge.ready['url']}/v1/chat/completions"
        assert (await request("POST", chat, {"model": "vision", "messages": sent})).status == 200
        assert await received(small_server) == sent
    async for publisher in RawPublisher.opened(small_server):
        await all_deleted(publisher)


async def test_d9_a_full_store_rejects_large_requests_only(small_server: System):
    edge = small_server.new_edge()
    await edge.start()
    async for publisher in RawPublisher.opened(small_server):
        others = [ReplyAddress("demo", "other", str(number)) for number in range(5)]
        for each in others:
            await BodyUpload(publisher.nc, each).store(b"x" * 20 * 1024 * 1024, timeout_s=10)
        others.append(ReplyAddress("demo", "other", "last"))
        await BodyUpload(publisher.nc, others[-1]).store(b"x" * 2 * 1024 * 1024, timeout_s=10)
        shown = (await run_command(small_server, "status")).out
        assert "Bodies that exceed a message: 6, 102 MiB" in shown
        async with await small_server.client() as client:
            await refuses_a_repeated_request(client._nc)
            with pytest.raises(NotAccepted, match=r"fill LLM_BODIES\. Send it again in 5 s") as caught:
                await client.chat(conversation(10), role="vision")
            assert (caught.value.retry, caught.value.retry_after_s) == ("later", 5.0)
            assert (await client.chat("hello", role="vision")).model == MODEL
        body = {"model": "vision", "messages": conversation(10)}
        answer = await request("POST", f"{edge.ready['url']}/v1/chat/completions", body)
        assert (answer.status, answer.error["code"]) == (503, "bus_unavailable")
        assert answer.headers["retry-after"] == "5"
        await asyncio.gather(*(delete_body(publisher.nc, each) for each in others))
        await all_deleted(publisher)


async def test_c6_a_large_request_beyond_the_share_of_its_user_is_rejected_and_its_body_deleted(
    small_server: System,
):
    """An eighth of the store is 12.8 MiB."""
    await small_server.hold_answers(0)
    try:
        async with (
            await small_server.client() as client,
            client.stream(conversation(10), role="vision", timeout_s=60) as running,
        ):
            async for event in running:
                if event.seq > 0:
                    break
            async for publisher in RawPublisher.opened(small_server):
                before = (await publisher.js.stream_info(BODIES.name)).state.messages
                refused = await ask(client, conversation(9), role="vision")
                assert (refused.code, refused.failed.error.retry_after_s) == ("overloaded", 10.0)

                async def deleted(publisher: RawPublisher = publisher, before: int = before) -> bool:
                    return (await publisher.js.stream_info(BODIES.name)).state.messages == before

                await until(deleted)
    finally:
        await small_server.release_answers()
    async for publisher in RawPublisher.opened(small_server):
        await all_deleted(publisher)
