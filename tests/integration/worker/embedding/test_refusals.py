"""H2, D11: what a provider refuses about one text, or about a batch, fails nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.simulator.answers.embeddings import POISON
from tests.harness.nats.binary import require_nats_server
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, running_system
from tests.harness.requests.embed import EmbedRequests, vector_of

ODD = ("m-floats", "m-nobase64", "m-nodimensions", "m-max10", "m-embed", "m-short")


def role_of(model: str) -> str:
    return f"of_{model.replace('-', '_')}"


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    require_nats_server()
    embedding: dict[str, Any] = {"dimensions": 256, "shortens": True}
    config = catalogue(
        {role_of(model): (model,) for model in ODD},
        models={model: {"embedding": embedding, "price": {"input": 20_000}} for model in ODD},
    )
    env = {"SIMULATOR_CONTEXT": '{"m-short": 50}'}
    roles = ",".join(map(role_of, ODD))
    async with running_system(tmp_path, roles, config=config, env=env) as running:
        yield running


@pytest.fixture
async def requests(system: System) -> AsyncIterator[EmbedRequests]:
    async with await system.client() as client:
        yield await EmbedRequests.started(client)


async def test_h2_a_poisoned_text_fails_alone(system: System, requests: EmbedRequests) -> None:
    clean = [f"a harmless text with the number {number}" for number in range(200)]
    poisoned = ["fine", "also fine", "well", f"a text with {POISON} in it"]
    replies = await asyncio.gather(
        *(requests.embed(text, role="of_m_embed") for text in clean),
        requests.embed(poisoned, role="of_m_embed"),
    )
    *answered, refused = replies
    assert [reply.vectors[0] for reply in answered] == [vector_of(text) for text in clean]
    error = refused.failure.error
    assert error.code == "invalid_request"
    assert error.message.startswith("input[3]: ")
    assert error.param == "input[3]"
    assert await system.attempts("m-embed") <= 30
    counts = (await system.sim("GET", "counts"))["models"]["m-embed"]
    assert counts["repeated_texts"] == 0


async def test_d3_a_provider_that_refuses_everything_is_asked_a_few_times(
    system: System, requests: EmbedRequests
) -> None:
    texts = [f"{POISON} number {number}" for number in range(300)]
    reply = await requests.embed(texts, role="of_m_embed")
    assert reply.failure.error.code in {"invalid_request", "provider_refused"}
    assert await system.attempts("m-embed") <= 15


async def test_d3_poisoned_texts_of_one_account_fail_no_text_of_another(
    system: System, requests: EmbedRequests
) -> None:
    async with await system.client() as client:
        other = await EmbedRequests.started(client, "b")
        await system.sim("PUT", "speed", {"tokens_per_second": 0, "first_token_ms": 0, "latency_ms": 300})
        blocking = [await requests.send(f"before {number}", role="of_m_embed") for number in range(1)]
        poisoned = [
            await requests.send(f"{POISON} number {number}", role="of_m_embed") for number in range(100)
        ]
        good = [await other.send(f"good {number}", role="of_m_embed") for number in range(2)]
        await system.sim("PUT", "speed", {"tokens_per_second": 0, "first_token_ms": 0, "latency_ms": 0})
        await asyncio.gather(*(reply.ended for reply in (*blocking, *poisoned, *good)))
    assert [reply.vectors for reply in good] == [[vector_of(f"good {number}")] for number in range(2)]
    assert {reply.failure.error.code for reply in poisoned} <= {"invalid_request", "provider_refused"}


@pytest.mark.parametrize("model", ["m-floats", "m-nobase64", "m-nodimensions"])
async def test_h2_a_model_with_other_parameters_is_adapted_to_once(
    system: System, requests: EmbedRequests, model: str
) -> None:
    for number in range(3):
        text = f"text {number}"
        reply = await requests.embed(
            text, role=role_of(model), dimensions=256 if model != "m-nodimensions" else 64
        )
        dimensions = reply.result.dimensions
        assert len(reply.vectors[0]) == dimensions
        if model == "m-nodimensions":
            assert sum(each * each for each in reply.vectors[0]) == pytest.approx(1)
        else:
            assert reply.vectors[0] == vector_of(text)
    assert await system.attempts(model) == (3 if model == "m-floats" else 4)


async def test_h2_batches_that_are_too_large_are_divided_and_remembered(
    system: System, requests: EmbedRequests
) -> None:
    texts = [f"one of many texts, number {number}" for number in range(60)]
    reply = await requests.embed(texts, role="of_m_max10")
    assert reply.vectors == [vector_of(text) for text in texts]
    await system.sim("POST", "reset")
    again = [f"one of more texts, number {number}" for number in range(60)]
    assert (await requests.embed(again, role="of_m_max10")).vectors == [vector_of(text) for text in again]
    counts = (await system.sim("GET", "counts"))["models"]["m-max10"]
    assert (counts["errors"], counts["texts"], counts["repeated_texts"]) == ({}, 60, 0)


async def test_h2_a_text_above_the_context_fails_alone(requests: EmbedRequests) -> None:
    long, short = await asyncio.gather(
        requests.embed(["short", "a word " * 200], role="of_m_short", estimated_tokens=10),
        requests.embed(["another short text"], role="of_m_short", estimated_tokens=4),
    )
    assert long.failure.error.code == "context_length_exceeded"
    assert "input[1]" in long.failure.error.message
    assert short.vectors == [vector_of("another short text")]


async def test_h2_token_arrays_pass_through(requests: EmbedRequests) -> None:
    reply = await requests.embed([[1, 2, 3], [4, 5], [1, 2, 3]], role="of_m_embed")
    assert len(reply.vectors) == 3
    assert reply.vectors[0] == reply.vectors[2] != reply.vectors[1]
    one = await requests.embed([4, 5], role="of_m_embed")
    assert one.vectors == [reply.vectors[1]]
    assert one.result.from_cache == 1


async def test_d5_bad_bodies_and_dimensions_are_refused(requests: EmbedRequests) -> None:
    reply = await requests.embed("text", role="of_m_embed", dimensions=257)
    assert reply.failure.error.code == "invalid_request"
    for texts, says in (([], "input is empty"), (["a text", ""], "input[1] is empty"), (["a", 1], "mixes")):
        refused = (await requests.embed(texts, role="of_m_embed")).failure.error
        assert refused.code == "invalid_request"
        assert says in refused.message
