"""H4: cached vectors are gone when forgetting returns, or it raises."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import nats.errors
import pytest

from penstock.bus.retry import RetryPolicy
from penstock.contract.retrieval import subjects
from penstock.contract.retrieval.collections import Generation
from penstock.runtime.retrieval.embedding_key import EmbeddingKeys
from services.indexer.memory.vector_cache import CachedVectors

GENERATION = Generation(number=1, model="small", space="small", dimensions=8)
PURGED = b'{"success":true,"purged":1}'
NO_STREAM = b'{"error":{"code":404,"err_code":10059,"description":"stream not found"}}'
NO_LEADER = b'{"error":{"code":503,"err_code":10008,"description":"temporarily unavailable"}}'


class Server:
    """Answers purges of the stream, each after one turn of the loop."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.subjects: list[str] = []
        self.running = self.most_running = 0

    async def request(self, subject: str, payload: bytes, timeout: float) -> Any:  # noqa: ARG002 - the interface
        assert subject == "$JS.API.STREAM.PURGE.LLM_EMBEDDINGS"
        self.subjects.append(json.loads(payload)["filter"])
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        return SimpleNamespace(data=self.answers.pop(0) if self.answers else PURGED)


def cache(server: Server, timeout_s: float = 5.0) -> CachedVectors:
    bus = cast("Any", SimpleNamespace(nc=server))
    return CachedVectors(bus, RetryPolicy(timeout_s=timeout_s, first_wait_s=0.001))


def subject_of(text: str) -> str:
    keys = EmbeddingKeys(GENERATION.space, GENERATION.dimensions)
    return subjects.embedding(keys.of(text))


async def test_h4_each_different_text_is_purged_several_at_a_time():
    server = Server()
    texts = [f"text {number}" for number in range(100)]
    await cache(server).forget([*texts, *texts], GENERATION)
    assert sorted(server.subjects) == sorted(map(subject_of, texts))
    assert 1 < server.most_running <= 32


async def test_h4_a_purge_that_failed_is_repeated_until_it_succeeds():
    server = Server(NO_LEADER, b"", b"{}", PURGED)
    await cache(server).forget(["a"], GENERATION)
    assert server.subjects == [subject_of("a")] * 4


async def test_h4_without_the_stream_nothing_is_cached():
    server = Server(NO_STREAM)
    await cache(server).forget(["a"], GENERATION)
    assert len(server.subjects) == 1


async def test_h4_a_purge_that_keeps_failing_is_reported():
    server = Server(*[NO_LEADER] * 1_000)
    with pytest.raises(nats.errors.Error, match="temporarily unavailable"):
        await cache(server, timeout_s=0.02).forget(["a", "b"], GENERATION)
    sent = len(server.subjects)
    await asyncio.sleep(0.01)
    assert len(server.subjects) == sent
