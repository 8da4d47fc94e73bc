"""H5: a change of model whose request becomes a dead letter is undone."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest
from msgspec import Raw
from prometheus_client import CollectorRegistry

from penstock.contract import codec, subjects
from penstock.contract.retrieval.documents import IndexBody
from penstock.contract.work import ChatWork
from penstock.runtime.consumer.delivery import Delivery, Unprocessable
from services.indexer.handlers import WorkHandler
from services.indexer.metrics import IndexerMetrics
from services.indexer.requests.bodies import RequestBodies
from services.indexer.requests.run import Runner
from tests.harness.indexer.local_indexer import LocalIndexer, documents

UNUSED: Any = None
DEAD = Unprocessable("internal", "it was delivered too often")


class StoredLetters:
    def __init__(self) -> None:
        self.stored: list[int] = []

    async def end(self, role: str, delivery: Delivery, _: Unprocessable) -> None:
        assert role == "index"
        self.stored.append(delivery.sequence)


def delivery(body: IndexBody) -> Delivery:
    work = ChatWork(
        id="r1",
        account="acme",
        client="c1",
        role="index",
        lane="batch",
        complexity="simple",
        why="",
        deadline_ms=1_700_000_100_000,
        accepted_ms=1_700_000_000_000,
        stream=False,
        body=Raw(msgspec.json.encode(body)),
        kind="index",
        collection="docs",
    )
    return Delivery(
        subject=subjects.work("index", "batch", 0, "f"),
        data=codec.encode(work),
        headers={},
        ack_subject="",
        sequence=7,
        number=9,
        stored_ns=0,
    )


async def killed_change_of_model() -> tuple[LocalIndexer, WorkHandler, StoredLetters]:
    indexer = LocalIndexer()
    await indexer.index(documents(a="text of a"))

    async def kill() -> None:
        raise ConnectionAbortedError

    indexer.gateway.before = kill
    with pytest.raises(ConnectionAbortedError):
        await indexer.index(IndexBody(model="large"))
    indexer.gateway.before = None
    assert len(await indexer.store.tables()) == 2
    bodies = RequestBodies(UNUSED)
    runner = Runner(
        UNUSED,
        "i1",
        indexer.indexer,
        bodies,
        UNUSED,
        UNUSED,
        UNUSED,
        UNUSED,
        indexer.clock,  # type: ignore[arg-type]
    )
    letters = StoredLetters()
    unused = dict.fromkeys(
        ("prior_attempts", "job_records", "scheduler", "cancellable", "time", "max_attempts"), UNUSED
    )
    return (
        indexer,
        WorkHandler(
            runner=runner,
            dead_requests=cast("Any", letters),
            bodies=bodies,
            metrics=IndexerMetrics(CollectorRegistry()),
            **unused,
        ),
        letters,
    )


async def test_h5_the_table_of_a_dead_change_of_model_is_dropped():
    indexer, handler, letters = await killed_change_of_model()
    await handler.dead_letter(delivery(IndexBody(model="large")), DEAD)
    record = indexer.records.stored["acme", "docs"]
    assert record.building is None
    assert record.current is not None
    assert record.current.model == "small"
    assert len(await indexer.store.tables()) == 1
    assert await indexer.texts() == {"a": ["text of a"]}
    assert letters.stored == [7]
    assert handler.metrics.dead._value.get() == 1
    assert handler.metrics.requests.labels("internal")._value.get() == 1


async def test_h5_another_dead_letter_leaves_a_change_of_model():
    indexer, handler, letters = await killed_change_of_model()
    await handler.dead_letter(delivery(documents(a="another text")), DEAD)
    invalid = delivery(IndexBody(model="large"))
    invalid.data = b"{}"
    await handler.dead_letter(invalid, DEAD)
    assert indexer.records.stored["acme", "docs"].building is not None
    assert len(await indexer.store.tables()) == 2
    assert letters.stored == [7, 7]


async def test_h5_an_old_dead_letter_leaves_the_same_change_of_model_of_a_later_request():
    indexer, handler, letters = await killed_change_of_model()

    async def kill() -> None:
        raise ConnectionAbortedError

    indexer.gateway.before = kill
    with pytest.raises(ConnectionAbortedError):
        await indexer.index(IndexBody(model="large"), version=2**53 - 1)
    await handler.dead_letter(delivery(IndexBody(model="large")), DEAD)
    assert indexer.records.stored["acme", "docs"].building is not None
    indexer.gateway.before = None
    report = await indexer.index(IndexBody(model="large"), version=2**53 - 1)
    assert report.model == "large"
    assert letters.stored == [7]
