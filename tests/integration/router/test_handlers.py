"""The router over NATS: rejections, accepted requests, and duplicates."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest

from penstock.bus.direct_get import read_page
from penstock.bus.ids import new_id
from penstock.client.client import Client
from penstock.contract import codec, headers, subjects
from penstock.contract.channels import CHANNELS
from penstock.contract.errors import ERRORS
from penstock.contract.explain import RoutingExplained
from penstock.contract.reply import Accepted, Completed, Failed, Started
from penstock.contract.streams import DEAD, MAX_BODY_BYTES, MAX_REQUEST_BYTES
from penstock.errors import RequestTooLarge
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.requests.replies import RawPublisher, ask
from tests.harness.suite.waiting import until

SERVED = "chat,logic,coding,vision,long_context,fast,creative,safety"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = catalogue({"chat": ("first", "second")})
    with shared_system(tmp_path_factory.mktemp("router"), SERVED, config=config) as running:
        yield running


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    async with await system.client() as connected:
        yield connected


@pytest.fixture
async def post(system: System) -> AsyncIterator[RawPublisher]:
    async for opened in RawPublisher.opened(system):
        yield opened


def request(**fields: Any) -> dict[str, Any]:
    """A valid request in which `fields` replace or add fields."""
    return {
        "type": "chat_request",
        "id": new_id(),
        "client": "publisher",
        "body": {"messages": [{"role": "user", "content": "Hello"}]},
        **fields,
    }


def body(**fields: Any) -> dict[str, Any]:
    return request(body={"messages": [{"role": "user", "content": "Hello"}], **fields})


DEEP = b'{"type":"chat_request","body":' + b"[" * 100_000
BAD = {
    "not JSON": (b"Hello?", "invalid_request", "not JSON"),
    "empty": (b"", "invalid_request", "not JSON"),
    "truncated": (json.dumps(request()).encode()[:-9], "invalid_request", "not JSON"),
    "not UTF-8": (
        b'{"type":"chat_request","client":"publisher","user":"\xff\xfe","body":{},"id":""}',
        "invalid_request",
        "utf-8",
    ),
    "not UTF-8 in an unread field": (
        b'{"type":"chat_request","client":"publisher","id":"","body":{"messages":[],"\xff":1}}',
        "invalid_request",
        "not UTF-8 text",
    ),
    "half a character": (
        b'{"type":"chat_request","id":"a","client":"publisher","user":"\\ud800","body":{}}',
        "invalid_request",
        "not JSON",
    ),
    "nested too deeply": (DEEP, "invalid_request", "nested too deeply"),
    "a list": ([], "invalid_request", "object"),
    "null": (None, "invalid_request", "object"),
    "another message": (request(type="completed"), "invalid_request", "completed"),
    "no body": (
        {name: value for name, value in request().items() if name != "body"},
        "invalid_request",
        "body",
    ),
    "a body that is text": (request(body="Hello"), "invalid_request", "body must be an object, not text"),
    "role is a number": (request(role=7), "invalid_request", "$.role"),
    "unknown lane": (request(lane="overtaking"), "invalid_request", "overtaking"),
    "deadline is text": (request(deadline_ms="soon"), "invalid_request", "$.deadline_ms"),
    "unknown role": (request(role="poet"), "unknown_role", "the roles are chat"),
    "role the catalogue lacks": (request(role="embed"), "unknown_role", "no role 'embed' in the catalogue"),
    "role without a worker": (request(role="reasoning"), "role_not_served", "reasoning"),
    "no messages": (request(body={}), "invalid_request", "messages is missing"),
    "empty messages": (body(messages=[]), "invalid_request", "messages is empty"),
    "messages are text": (body(messages="Hello"), "invalid_request", "messages must be a list of messages"),
    "unknown speaker": (
        body(messages=[{"role": "wizard", "content": "x"}]),
        "invalid_request",
        "messages[0].role must be one of system",
    ),
    "content is a number": (
        body(messages=[{"role": "user", "content": 5}]),
        "invalid_request",
        "messages[0].content must be text or a list of parts, not a number",
    ),
    "negative max_tokens": (body(max_tokens=-1), "invalid_request", "max_tokens must be a positive integer"),
    "huge max_tokens": (body(max_tokens=10**30), "invalid_request", "max_tokens"),
    "n is text": (body(n="2"), "invalid_request", "n must be a positive integer, not text"),
    "stream is text": (body(stream="yes"), "invalid_request", "stream must be true or false, not text"),
    "deadline past": (
        request(deadline_ms=1_700_000_000_000),
        "deadline_exceeded",
        "before the request was routed",
    ),
    "deadline in seconds": (request(deadline_ms=1_700_000_000), "deadline_exceeded", "is long past"),
    "deadline long past": (request(deadline_ms=-(10**15)), "deadline_exceeded", "is long past"),
    "deadline out of range": (request(deadline_ms=10**4000), "invalid_request", "deadline_ms must be a time"),
    "user too long": (request(user="x" * 300), "invalid_request", "user must be at most 256"),
    "id with a dot": (request(id="a.b"), "invalid_request", "id must be 1 to 64 characters"),
    "client with a star": (request(client="*"), "invalid_request", "client must be 1 to 64 characters"),
    "empty id": (request(id=""), "invalid_request", "id must be"),
}


@pytest.mark.parametrize("name", BAD)
async def test_d10_each_kind_of_bad_input_is_rejected_with_a_clear_message(
    system: System, post: RawPublisher, name: str
) -> None:
    written, code, text = BAD[name]
    payload = written if isinstance(written, bytes) else json.dumps(written).encode()
    own_id = written.get("id", "") if isinstance(written, dict) else ""

    header_id = await post.request(payload)

    end = await post.end(own_id if subjects.is_token(own_id) else header_id)
    assert isinstance(end, Failed)
    assert end.error.code == code
    assert text in end.error.message
    assert end.error.retry == ERRORS[code].retry
    assert len(end.error.message) < 700


async def test_d10_different_clients_in_header_and_body_are_rejected(
    system: System, post: RawPublisher
) -> None:
    sent = request(client="other")
    await post.request(json.dumps(sent).encode())

    end = await post.end(sent["id"], client="other")

    assert isinstance(end, Failed)
    assert end.error.code == "invalid_request"
    assert "names the client 'publisher'" in end.error.message
    assert "the body names 'other'" in end.error.message


async def test_a_request_at_the_size_limit_passes_the_router(system: System, post: RawPublisher) -> None:
    rest = len(json.dumps(request(body={"messages": [{"role": "user", "content": ""}]})))
    fits = request(body={"messages": [{"role": "user", "content": "x" * (MAX_REQUEST_BYTES - rest)}]})
    payload = json.dumps(fits).encode()
    assert len(payload) == MAX_REQUEST_BYTES

    await post.request(payload)
    await post.request(payload[:-4] + b"xxxx" + payload[-4:])

    end = await post.end(fits["id"])
    assert isinstance(
        end, Failed
    )  # two million tokens are too many for every model, but the router accepted the request
    assert end.error.code in {"context_length_exceeded", "request_too_large"}


async def test_a_request_above_the_size_limit_is_rejected_with_the_limit(
    system: System, post: RawPublisher
) -> None:
    big = request(body={"messages": [{"role": "user", "content": "x" * MAX_REQUEST_BYTES}]})
    await post.request(json.dumps(big).encode())

    end = await post.end(big["id"])

    assert isinstance(end, Failed)
    assert end.error.code == "request_too_large"
    assert f"the limit is {MAX_REQUEST_BYTES:,}" in end.error.message


async def test_the_client_rejects_a_request_larger_than_any_may_be(client: Client) -> None:
    with pytest.raises(RequestTooLarge, match="the limit is"):
        await ask(client, "x" * (MAX_BODY_BYTES + 1), role="chat")


async def test_an_unknown_kind_is_rejected(system: System, post: RawPublisher) -> None:
    asked = request()
    await post.request(json.dumps(asked).encode(), kind="paint")

    end = await post.end(asked["id"])

    assert isinstance(end, Failed)
    assert end.error.code == "kind_not_served"
    assert "'paint'" in end.error.message


async def test_k1_unknown_fields_are_tolerated_everywhere(system: System, post: RawPublisher) -> None:
    asked = body(a_new_option=True)
    asked |= {"v": 2, "a_new_field": {"deep": [1, 2]}}
    await post.request(json.dumps(asked).encode())

    assert isinstance(await post.end(asked["id"]), Completed)


@pytest.mark.parametrize("account", ["*", "a" * 65, "\x01", "ü"])
async def test_a_hostile_account_in_the_subject_is_a_dead_letter(
    system: System, post: RawPublisher, account: str
) -> None:
    before = await _dead(post)

    await post.request(json.dumps(request()).encode(), account=account)

    await until(lambda: _more_dead(post, before + 1))


async def test_d7_a_request_without_an_address_is_a_dead_letter_with_its_reason(
    system: System, post: RawPublisher
) -> None:
    before = await _dead(post)
    payload = b'{"type": "chat_request", "id": "no client here"'

    await post.request(payload, client=None)

    await until(lambda: _more_dead(post, before + 1))
    last = (await read_page(post.nc, DEAD.name, subjects.dead("router"))).messages[-1]
    assert last.data == payload
    assert last.headers is not None
    assert last.headers[headers.DEAD_REASON] == "invalid_request"
    assert "not JSON" in last.headers[headers.DEAD_MESSAGE]
    assert last.headers[headers.DEAD_SUBJECT] == "llm.request.demo.chat"
    assert last.headers[headers.DEAD_DELIVERIES] == "1"


async def test_d7_a_request_published_three_times_runs_once(system: System, post: RawPublisher) -> None:
    await system.sim("POST", "reset")
    asked = request()
    payload = json.dumps(asked).encode()
    for _ in range(3):
        extra = {headers.MESSAGE_ID: asked["id"], headers.CLIENT: "publisher"}
        await post.js.publish(subjects.request("demo", "chat"), payload, headers=extra)

    await post.end(asked["id"])
    await _nothing_more_happens(system)

    await post.end(asked["id"])
    assert await system.attempts("first") == 1


@pytest.mark.parametrize("at_once", [True, False])
async def test_d7_a_request_under_other_message_ids_runs_once(
    system: System, post: RawPublisher, *, at_once: bool
) -> None:
    await system.sim("POST", "reset")
    asked = request()
    for _ in range(3):
        await post.request(json.dumps(asked).encode())
        if not at_once:
            await post.end(asked["id"])

    assert isinstance(await post.end(asked["id"]), Completed)
    await _nothing_more_happens(system)

    events = await post.stored(asked["id"])
    assert [type(event) for event in events] == [Accepted, Started, Completed]
    assert await system.attempts("first") == 1


async def test_b5_accepted_contains_role_complexity_and_why(system: System, client: Client) -> None:
    received = await ask(client, "Write a Python function that sorts a list", role="auto")

    accepted = received.events[0]
    assert isinstance(accepted, Accepted)
    assert accepted.role == "coding"
    assert "code" in accepted.why
    assert accepted.complexity in accepted.why


async def test_b5_explain_describes_the_routing_without_side_effects(
    system: System, post: RawPublisher
) -> None:
    await system.sim("POST", "reset")
    asked = request(
        role="auto", body={"messages": [{"role": "user", "content": "Prove that 2+2=4 by induction"}]}
    )

    answer = await post.nc.request(subjects.EXPLAIN, json.dumps(asked).encode(), timeout=2)

    explained = msgspec.json.decode(answer.data, type=RoutingExplained)
    assert explained.role == "logic"
    assert explained.chain == ("m-logic",)
    assert explained.why
    assert await system.attempts() == 0
    assert await post.stored(asked["id"]) == []


@pytest.mark.parametrize(
    "payload", [b"", b"\xff\x00", b"[1]", DEEP, json.dumps(request(role="poet")).encode()]
)
async def test_b5_explain_rejects_like_a_real_request(
    system: System, post: RawPublisher, payload: bytes
) -> None:
    answer = await post.nc.request(subjects.EXPLAIN, payload, timeout=2)

    refused = codec.REPLY.decode(answer.data)
    assert isinstance(refused, Failed)
    assert refused.error.code in {"invalid_request", "unknown_role"}
    (channel,) = (each for each in CHANNELS if each.subject == subjects.EXPLAIN)
    assert Failed in channel.messages


async def test_a_far_deadline_is_limited(system: System, post: RawPublisher) -> None:
    asked = request(deadline_ms=10**15)
    await post.request(json.dumps(asked).encode())

    await post.end(asked["id"])

    accepted = (await post.stored(asked["id"]))[0]
    assert isinstance(accepted, Accepted)
    assert accepted.deadline_ms <= time.time() * 1000 + 3_600_000


async def _nothing_more_happens(system: System) -> None:
    """Wait long enough for a published request to pass the router and a worker several times."""
    before = await system.attempts()
    await asyncio.sleep(0.3)
    assert await system.attempts() == before


async def _dead(post: RawPublisher) -> int:
    return (await post.js.stream_info(DEAD.name)).state.messages


async def _more_dead(post: RawPublisher, wanted: int) -> bool:
    return await _dead(post) == wanted
