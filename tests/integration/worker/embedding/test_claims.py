"""H2: a claim whose acknowledgement is late stays the claim of its worker, and one of a failed batch is released."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import nats.errors
import pytest
from nats.aio.client import Client as Nats
from prometheus_client import CollectorRegistry

from penstock.bus import direct_get
from penstock.contract.retrieval import subjects
from penstock.contract.streams import EMBEDDINGS
from services.worker.embedding.known_vectors import KnownVectors
from services.worker.embedding.metrics import EmbeddingMetrics
from services.worker.embedding.request import WaitingRequest
from services.worker.embedding.shared_texts import SharedTexts
from services.worker.embedding.text_queue import BatchSize
from services.worker.embedding.vector_claims import RELEASED, VectorClaims
from services.worker.embedding.vector_store import VectorStore
from tests.harness.requests.routed_requests import chat_work
from tests.harness.suite.waiting import until


class FailingBatches:
    """Ends the requests with an error and raises it, as BatchRunner does."""

    def __init__(self) -> None:
        self.calls = SimpleNamespace(learned=SimpleNamespace(batch_size=lambda *_: BatchSize(10, 1_000)))
        self.attempts = SimpleNamespace(give_up=lambda _: None)

    async def run(self, texts: Any, done: Any) -> None:
        error = RuntimeError("the batch has failed")
        for text in texts:
            done(text, None)
            for request in tuple(text.requests):
                request.fail(error)
                request.leave()
        raise error


def store_of(nc: Nats) -> VectorStore:
    return VectorStore(nc, EmbeddingMetrics(CollectorRegistry()))


def claims_of(nc: Nats, instance: str) -> VectorClaims:
    return VectorClaims(nc, store_of(nc), instance)


async def sequence_of(nc: Nats, key: str) -> int:
    (message,) = await direct_get.read_last(nc, EMBEDDINGS.name, [subjects.embedding(key)])
    return direct_get.sequence_of(message)


async def with_late_acknowledgement(nc: Nats, monkeypatch: pytest.MonkeyPatch, call: Any) -> Any:
    """What `call` returns while messages are stored and their acknowledgements come too late."""
    request = nc.request

    async def late(*arguments: Any, **options: Any) -> Any:
        await request(*arguments, **options)
        raise nats.errors.TimeoutError

    with monkeypatch.context() as patched:
        patched.setattr(nc, "request", late)
        return await call()


async def test_h2_a_claim_with_a_late_acknowledgement_is_renewed(
    provisioned: Nats, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims, peer = claims_of(provisioned, "one"), claims_of(provisioned, "other")
    assert await claims.take({unique: 0}) == frozenset()
    await with_late_acknowledgement(provisioned, monkeypatch, claims._renew_once)
    seen = await sequence_of(provisioned, unique)
    await claims._renew_once()
    assert await sequence_of(provisioned, unique) > seen
    assert await peer.take({unique: seen}) == {unique}


async def test_h2_a_text_that_was_claimed_with_a_late_acknowledgement_is_not_lost(
    provisioned: Nats, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = claims_of(provisioned, "one")

    async def take() -> frozenset[str]:
        return await claims.take({unique: 0})

    assert await with_late_acknowledgement(provisioned, monkeypatch, take) == frozenset()
    seen = await sequence_of(provisioned, unique)
    await claims._renew_once()
    assert await sequence_of(provisioned, unique) > seen
    assert await claims.take({unique: 0}) == frozenset()  # it has the claim already
    await claims.release([unique])
    assert (
        await claims_of(provisioned, "other").take({unique: await sequence_of(provisioned, unique)})
        == frozenset()
    )


async def test_h2_the_claims_of_a_batch_that_fails_are_released(provisioned: Nats, unique: str) -> None:
    claims = claims_of(provisioned, "one")
    models = {"m": SimpleNamespace(limits=SimpleNamespace(concurrency=1))}
    catalogue = SimpleNamespace(all_roles={"embed": SimpleNamespace(chain=("m",))}, models=models)
    known = KnownVectors(store_of(provisioned))
    peers = SimpleNamespace(possible=lambda *_: True)
    texts = SharedTexts(*cast("Any", (catalogue, FailingBatches(), known, claims, peers)))
    request = WaitingRequest(
        execution=cast("Any", SimpleNamespace(work=chat_work(kind="embed", role="embed"))),
        keys=[unique],
        texts=["a text"],
        distinct=1,
        dimensions=8,
        done=asyncio.get_running_loop().create_future(),
    )
    await texts.find(request)
    with pytest.raises(RuntimeError, match="the batch has failed"):
        await request.done
    texts.leave(request)

    async def is_released() -> bool:
        (message,) = await direct_get.read_last(provisioned, EMBEDDINGS.name, [subjects.embedding(unique)])
        return message.data == RELEASED

    await until(is_released)
    assert claims._held == {}
    await texts.stop()
