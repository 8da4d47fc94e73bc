"""H2: vectors that are not stored are counted, whatever the reason."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import nats.errors
import pytest
from prometheus_client import CollectorRegistry

from services.worker.embedding.metrics import EmbeddingMetrics
from services.worker.embedding.vector_store import VectorStore
from tests.harness.suite.waiting import until

STORED = b'{"stream":"LLM_EMBEDDINGS","seq":5}'
FULL = b'{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"},"seq":0}'
_FLUSH_QUEUE = SimpleNamespace(empty=lambda: False)


class Server:
    """Takes what is published, and answers each request with the next of `answers`."""

    is_connected = True
    _flush_queue = _FLUSH_QUEUE

    def __init__(self, *answers: bytes | Exception) -> None:
        self.answers = list(answers)
        self.stats: Counter[str] = Counter()
        self.requested: list[str] = []
        self.published = b""

    async def _send_command(self, data: bytes) -> None:
        self.published += data

    async def request(self, subject: str, payload: bytes, timeout: float) -> Any:  # noqa: ARG002 - the interface
        self.requested.append(subject)
        answer = self.answers.pop(0) if self.answers else STORED
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(data=answer)


async def errors_after(server: Server, vectors: int) -> float:
    """The failures that are counted when so many vectors were to be written."""
    registry = CollectorRegistry()
    store = VectorStore(cast("Any", server), EmbeddingMetrics(registry))
    store.start()
    for number in range(vectors):
        store.put(f"key{number}", bytes(8))
    done: list[float] = []

    def counted() -> bool:
        done[:] = [registry.get_sample_value("penstock_embedding_store_errors_total") or 0.0]
        return bool(done[0]) or (not server.answers and store._all_written.is_set())

    await until(counted, every_s=0.001)
    server.is_connected = False
    await store.stop()
    return done[0]


async def test_h2_the_last_of_many_vectors_is_acknowledged_for_all():
    server = Server(STORED)
    assert await errors_after(server, 3) == 0
    assert server.requested == ["llm.embedding.key2"]
    assert server.published.count(b"PUB llm.embedding.key") == 2


@pytest.mark.parametrize(
    "answer", [FULL, b"{}", b"+ACK", b"", nats.errors.TimeoutError(), nats.errors.NoRespondersError()]
)
async def test_h2_vectors_that_are_not_stored_are_counted_each(answer: bytes | Exception):
    assert await errors_after(Server(answer), 3) == 3
