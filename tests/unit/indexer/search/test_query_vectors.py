"""H1: the vector of a question is embedded once for all who ask it, and no caller pays for another's deadline."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from penstock.contract.retrieval.collections import Generation
from services.indexer.embedding.gateway import Caller, EmbeddingFailed
from services.indexer.embedding.models import EmbeddingModels
from services.indexer.search.query_vectors import QueryVectors
from tests.harness.indexer.local_indexer import CATALOGUE, DIMENSIONS, FakeGateway

MODELS = EmbeddingModels(CATALOGUE)
GENERATION = Generation(number=1, model="small", space=CATALOGUE.vector_space("small"), dimensions=DIMENSIONS)


def caller(account: str = "acme", user: str = "", left_s: float = 60.0) -> Caller:
    return Caller(account=account, user=user, until_s=asyncio.get_running_loop().time() + left_s)


async def test_h1_the_same_question_at_once_is_embedded_once():
    gateway = FakeGateway()
    vectors = QueryVectors(gateway, MODELS)
    found = await asyncio.gather(*(vectors.get("cats", GENERATION, caller()) for _ in range(5)))
    assert len(set(found)) == 1
    assert gateway.requests == [1]
    await vectors.get("cats", GENERATION, caller("other"))
    assert gateway.requests == [1, 1]


async def test_h1_a_failure_of_the_first_caller_is_not_that_of_the_second():
    gateway = FakeGateway()
    failures = [EmbeddingFailed("deadline_exceeded", "too late")]

    async def fail_once() -> None:
        if failures:
            raise failures.pop()

    gateway.before = fail_once
    vectors = QueryVectors(gateway, MODELS)
    first = asyncio.create_task(vectors.get("cats", GENERATION, caller(user="ann", left_s=0.01)))
    await asyncio.sleep(0)
    second = asyncio.create_task(vectors.get("cats", GENERATION, caller(user="bob")))
    with pytest.raises(EmbeddingFailed, match="too late"):
        await first
    assert len(await second) == 4 * DIMENSIONS
    assert await vectors.get("cats", GENERATION, caller()) == await second
    assert len(gateway.requests) == 2


async def test_h1_a_caller_without_time_does_not_try_again_and_one_with_time_only_once():
    gateway = FakeGateway()
    gateway.failing = EmbeddingFailed("provider_unavailable", "down")
    vectors = QueryVectors(gateway, MODELS)
    callers = [caller(), caller(left_s=0.0), caller()]
    tasks = [vectors.get("cats", GENERATION, each) for each in callers]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(each) for each in results] == ["down"] * 3
    assert len(gateway.requests) == 2


async def test_h1_a_caller_that_leaves_does_not_end_the_embedding_for_others():
    gateway = FakeGateway()
    vectors = QueryVectors(gateway, MODELS)
    first = asyncio.create_task(vectors.get("cats", GENERATION, caller()))
    await asyncio.sleep(0)
    second = asyncio.create_task(vectors.get("cats", GENERATION, caller()))
    await asyncio.sleep(0)
    first.cancel()
    assert len(await second) == 4 * DIMENSIONS
    assert gateway.requests == [1]


async def test_h4_a_question_to_a_memory_is_kept_nowhere():
    gateway = FakeGateway()
    vectors = QueryVectors(gateway, MODELS)
    asked = replace(caller(), store=False)
    found = [await vectors.get("a secret", GENERATION, asked) for _ in range(2)]
    assert found[0] == found[1]
    assert gateway.provided == {"a secret": 2}
    assert gateway.stored == set()


async def test_h1_the_vectors_used_last_are_kept():
    gateway = FakeGateway()
    vectors = QueryVectors(gateway, MODELS, most=2)
    for question in ("a", "b", "a", "c", "a", "b"):
        await vectors.get(question, GENERATION, caller())
    assert dict(gateway.provided) == {"a": 1, "b": 1, "c": 1}
    assert len(gateway.requests) == 4


@pytest.mark.parametrize("generation", [Generation(number=1, model="gone", space="gone", dimensions=8)])
async def test_h1_a_model_that_the_catalogue_lacks_is_named(generation: Generation):
    with pytest.raises(EmbeddingFailed, match=r"vectors of this collection \(gone"):
        await QueryVectors(FakeGateway(), MODELS).get("cats", generation, caller())
