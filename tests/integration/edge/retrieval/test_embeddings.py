"""H2, K2: vectors over HTTP, with the unchanged SDK of OpenAI."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pytest
from nats.aio.client import Client as Nats

from penstock import Client
from penstock.bus.connection import close, connect
from penstock.bus.ids import new_id
from penstock.contract import subjects
from penstock.contract.presence import Presence, RoleStatus
from penstock.contract.streams import WORK
from penstock.runtime.heartbeat import Heartbeat
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.requests.edge_client import Response, request
from tests.harness.suite.waiting import until

DIMENSIONS = 256
PRICE = {"input": 20_000, "output": 0}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = catalogue(
        {"embed": ("small",), "wide": ("text-embedding-3-large",), "idle": ("slow",)},
        models={
            "small": {
                "price": PRICE,
                "context_tokens": 8_191,
                "embedding": {"dimensions": DIMENSIONS, "shortens": True},
            },
            "slow": {"embedding": {"dimensions": DIMENSIONS}},
            "text-embedding-3-large": {"price": PRICE, "embedding": {"dimensions": 3_072, "shortens": True}},
        },
    )
    directory = tmp_path_factory.mktemp("embeddings")
    with shared_system(directory, "chat,coding,embed,wide", config=config) as running:
        yield running


def text() -> str:
    """One that no other test embeds."""
    return f"a text about {new_id()}"


async def post(url: str, body: Any, **headers: str) -> Response:
    return await request("POST", f"{url}/v1/embeddings", body, headers=headers)


@pytest.mark.parametrize("model", ["embed", "small", "auto"])
async def test_k2_the_sdk_reads_both_encodings_alike(ai: openai.AsyncOpenAI, model: str) -> None:
    texts = [text(), text(), text()]
    packed = await ai.embeddings.create(model=model, input=texts)  # the SDK asks for base64
    numbers = await ai.embeddings.create(model=model, input=texts, encoding_format="float")
    assert [each.index for each in packed.data] == [0, 1, 2]
    assert [len(each.embedding) for each in packed.data] == [DIMENSIONS] * 3
    assert [each.embedding for each in packed.data] == [each.embedding for each in numbers.data]
    assert len({tuple(each.embedding) for each in packed.data}) == 3
    assert (packed.object, packed.model) == ("list", "small")
    assert packed.usage.prompt_tokens == packed.usage.total_tokens > 0
    assert numbers.usage.total_tokens == 0, "stored vectors cost nothing"


async def test_k2_base64_is_little_endian_numbers_of_32_bits(url: str) -> None:
    body = {"model": "embed", "input": text()}
    numbers = (await post(url, body)).json["data"][0]["embedding"]
    encoded = (await post(url, body | {"encoding_format": "base64"})).json["data"][0]["embedding"]
    assert list(struct.unpack(f"<{DIMENSIONS}f", base64.b64decode(encoded))) == numbers


async def test_k2_dimensions_shorten_the_vectors(ai: openai.AsyncOpenAI) -> None:
    found = await ai.embeddings.create(model="wide", input=text(), dimensions=64)
    assert len(found.data[0].embedding) == 64
    with pytest.raises(openai.BadRequestError, match="have 3,072 dimensions") as raised:
        await ai.embeddings.create(model="wide", input=text(), dimensions=4_096)
    assert (raised.value.code, raised.value.param) == ("invalid_request", "dimensions")


async def test_k2_arrays_of_tokens_are_embedded_as_langchain_sends_them(ai: openai.AsyncOpenAI) -> None:
    one: Any = [9_906, 11, 1_917]
    several: Any = [one, [15_339], one]
    found = await ai.embeddings.create(model="embed", input=several)
    assert len(found.data) == 3
    assert found.data[0].embedding == found.data[2].embedding != found.data[1].embedding
    alone = await ai.embeddings.create(model="embed", input=one)
    assert len(alone.data) == 1
    assert alone.data[0].embedding == found.data[0].embedding


async def test_h2_the_client_of_the_bus_gets_the_same_vectors(ai: openai.AsyncOpenAI, system: System) -> None:
    texts = [text(), text()]
    over_http = await ai.embeddings.create(model="embed", input=texts)
    async with await system.client() as client:
        found = await client.embed(texts)
        assert [vector.tolist() for vector in found.vectors] == [each.embedding for each in over_http.data]
        assert (found.from_cache, found.embedded, found.cost_microusd) == (2, 0, 0)
        await _stays_the_same(client, texts)


async def _stays_the_same(client: Client, texts: list[str]) -> None:
    named = await client.embed(texts, model="small", user="u")
    assert (named.model, named.space, named.dimensions) == ("small", "small", DIMENSIONS)
    job = await client.embed([*texts, text()], lane="batch")
    assert (job.count, job.embedded, job.from_cache) == (3, 1, 2)
    assert job.data[: len(named.data)] == named.data


async def test_j1_the_headers_have_the_request_its_role_and_its_cost(url: str) -> None:
    answer = await post(url, {"model": "embed", "input": [text() * 20]})
    assert answer.status == 200
    headers = answer.headers
    assert headers["x-penstock-role"] == "embed"
    assert headers["x-request-id"] == headers["x-penstock-request-id"]
    assert int(headers["x-penstock-cost-microusd"]) >= 1
    assert headers["x-penstock-reason"] == "role named in the request; one input to embed"


@pytest.mark.parametrize(
    ("body", "status", "code", "param", "message"),
    [
        ({"model": "embed"}, 400, "invalid_request", "input", "input is missing"),
        ({"model": "embed", "input": []}, 400, "invalid_request", "input", "input is empty"),
        ({"model": "embed", "input": ["a", ""]}, 400, "invalid_request", "input[1]", "is empty"),
        ({"model": "embed", "input": ["a"] * 2_049}, 400, "invalid_request", "input", "at most 2,048"),
        ({"input": "a"}, 400, "invalid_request", "model", "model is missing"),
        ({"model": "embed:simple", "input": "a"}, 400, "invalid_request", "model", "write 'embed'"),
        (
            {"model": "embed", "input": "a", "encoding_format": "int8"},
            400,
            "invalid_request",
            "encoding_format",
            "int8",
        ),
        (
            {"model": "coding", "input": "a"},
            400,
            "invalid_request",
            "model",
            "the roles for it are embed, idle, wide",
        ),
        (
            {"model": "text-embedding-ada-002", "input": "a"},
            404,
            "unknown_role",
            "model",
            "the roles are embed, idle, wide",
        ),
        (
            {"model": "embed", "input": "word " * 20_000},
            400,
            "context_length_exceeded",
            None,
            "input has about",
        ),
    ],
)
async def test_k1_errors_have_openais_shape_and_name_the_field(
    url: str, body: dict[str, Any], status: int, code: str, param: str | None, message: str
) -> None:
    answer = await post(url, body)
    assert answer.status == status
    assert (answer.error["code"], answer.error["param"]) == (code, param)
    assert answer.error["type"] == "invalid_request_error"
    assert message in answer.error["message"]


async def test_k2_a_chat_request_to_an_embedding_role_says_which_roles_answer_it(
    ai: openai.AsyncOpenAI,
) -> None:
    with pytest.raises(openai.BadRequestError, match="the role embed answers embed requests"):
        await ai.chat.completions.create(model="embed", messages=[{"role": "user", "content": "hi"}])


async def test_d7_a_repeated_request_gets_the_stored_vectors(url: str, other_url: str) -> None:
    key = {"idempotency-key": new_id()}
    body = {"model": "embed", "input": [text()]}
    first = await post(url, body, **key)
    again = await post(other_url, body, **key)
    assert (first.status, again.status) == (200, 200)
    assert again.body == first.body, "with the usage of the first one"
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    changed = await post(url, body | {"encoding_format": "base64"}, **key)
    assert (changed.status, changed.error["code"]) == (422, "idempotency_key_reused")


@pytest.fixture
async def bus(system: System) -> AsyncIterator[Nats]:
    """Beside a service that announces the role `idle` and takes no work."""
    roles = (RoleStatus(role="idle", slots=1, running=0),)
    presence = Presence(service="worker", instance=new_id(), at_ms=0, roles=roles)
    nc = await connect(system.nats.url, name="test")
    heartbeat = Heartbeat(nc, lambda: presence)
    await heartbeat.start()
    yield nc
    await heartbeat.stop()
    await close(nc)


async def queued(bus: Nats) -> int:
    in_mailbox = subjects.work("idle", "interactive", 0, "*")
    info = await bus.jetstream().stream_info(WORK.name, subjects_filter=in_mailbox)
    return sum((info.state.subjects or {}).values())


@pytest.mark.parametrize("key", [{}, {"idempotency-key": "k"}])
async def test_d8_hanging_up_cancels_a_request_that_cannot_be_read_again(
    url: str, bus: Nats, key: dict[str, str]
) -> None:
    body = {"model": "idle", "input": text()}
    asking = asyncio.create_task(post(url, body, **key, **{"x-penstock-timeout-s": "4"}))

    async def is_queued() -> bool:
        return await queued(bus) == 1

    async def is_gone() -> bool:
        return await queued(bus) == 0

    await until(is_queued)
    began_s = time.monotonic()
    asking.cancel()
    await until(is_gone)
    took_s = time.monotonic() - began_s
    assert (took_s < 2.5) == (not key), "with a key it waits until its deadline"


async def test_k2_the_most_vectors_do_not_stop_other_requests(url: str) -> None:
    texts = [f"{new_id()} {number}" for number in range(2_048)]
    waits_s: list[float] = []

    async def ask_meanwhile() -> None:
        while True:
            began_s = time.monotonic()
            assert (await request("GET", f"{url}/healthz")).status == 200
            waits_s.append(time.monotonic() - began_s)
            await asyncio.sleep(0.02)

    asking = asyncio.create_task(ask_meanwhile())
    try:
        answer = await post(url, {"model": "wide", "input": texts, "encoding_format": "float"})
    finally:
        asking.cancel()
    assert answer.status == 200
    found = json.loads(answer.body)["data"]
    assert [each["index"] for each in found] == list(range(2_048))
    assert {len(each["embedding"]) for each in found} == {3_072}
    assert max(waits_s) < 1.0


async def test_k2_embedding_roles_and_models_are_listed(ai: openai.AsyncOpenAI) -> None:
    listed = {model.id: model.model_extra or {} for model in (await ai.models.list()).data}
    for name in ("embed", "small"):
        about = listed[name]["penstock"]
        assert (about["requests"], about["dimensions"], about["available"]) == ("embed", DIMENSIONS, True)
    assert listed["coding"]["penstock"]["requests"] == "chat"
