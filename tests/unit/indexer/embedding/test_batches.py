"""Texts in batches: their size, retries, and the text that is refused alone."""

from __future__ import annotations

import asyncio

import pytest

from services.indexer.embedding.batches import BatchEmbedder, Costs
from services.indexer.embedding.gateway import Caller, EmbeddingFailed, Route
from tests.harness.indexer.local_indexer import FakeGateway

ROUTE = Route(role="embed")


def _caller() -> Caller:
    return Caller(account="acme", until_s=asyncio.get_running_loop().time() + 10)


async def test_h1_texts_are_sent_once_in_batches_of_256():
    gateway, costs = FakeGateway(), Costs()
    texts = [f"text {number % 600}" for number in range(1_200)]
    vectors = await BatchEmbedder(gateway).embed(texts, ROUTE, _caller(), costs)
    assert gateway.requests == [256, 256, 88]
    assert len(vectors.found) == costs.embedded == 600


async def test_h1_large_texts_make_small_batches():
    gateway = FakeGateway()
    texts = [f"{number} " + "x" * 400_000 for number in range(5)]
    await BatchEmbedder(gateway).embed(texts, ROUTE, _caller(), Costs())
    assert sorted(gateway.requests) == [1, 2, 2]


async def test_h3_a_refused_text_is_found_and_the_others_get_vectors():
    gateway = FakeGateway()
    gateway.refused = {"text 77"}
    texts = [f"text {number:03}" for number in range(76)] + ["text 77"] + ["more"]
    vectors = await BatchEmbedder(gateway).embed(texts, ROUTE, _caller(), Costs())
    assert list(vectors.refused) == ["text 77"]
    assert len(vectors.found) == 77
    assert max(gateway.provided.values()) == 1


async def test_h3_texts_that_the_refusals_name_are_left_out():
    gateway = FakeGateway()
    gateway.refused, gateway.names_refused = {"text 003", "text 077"}, True
    texts = [f"text {number:03}" for number in range(100)]
    vectors = await BatchEmbedder(gateway).embed(texts, ROUTE, _caller(), Costs())
    assert list(vectors.refused) == ["text 003", "text 077"]
    assert len(vectors.found) == 98
    assert gateway.requests == [100, 99, 98]


@pytest.mark.parametrize("names", [True, False])
async def test_h3_a_model_that_refuses_everything_is_not_asked_for_each_text(names: bool):
    gateway = FakeGateway()
    gateway.refused, gateway.names_refused = {"text"}, names
    texts = [f"text {number}" for number in range(1_000)]
    with pytest.raises(EmbeddingFailed, match="not this one"):
        await BatchEmbedder(gateway).embed(texts, ROUTE, _caller(), Costs())
    assert len(gateway.requests) < 300


async def test_h3_what_passes_is_tried_again_and_what_does_not_is_raised():
    gateway = FakeGateway()
    failures = [
        EmbeddingFailed("rate_limited", "slow down", 0.01),
        EmbeddingFailed("overloaded", "full"),
        EmbeddingFailed("deadline_exceeded", "the worker was slow"),
    ]

    async def fail() -> None:
        if failures:
            raise failures.pop()

    gateway.before = fail
    embedder = BatchEmbedder(gateway, first_wait_s=0.001)
    vectors = await embedder.embed(["a"], ROUTE, _caller(), Costs())
    assert list(vectors.found) == ["a"]
    gateway.failing = EmbeddingFailed("budget_exceeded", "nothing left")
    with pytest.raises(EmbeddingFailed, match="nothing left"):
        await embedder.embed(["b"], ROUTE, _caller(), Costs())
    assert len(gateway.requests) == 5
