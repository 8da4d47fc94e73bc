"""D6: with which code an index request ends, for every error that its parts raise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import nats.errors
import pytest

from penstock.bus.clock import SYSTEM
from penstock.contract.errors import ErrorCode
from penstock.contract.retrieval.documents import IndexBody, IndexReport
from penstock.contract.work import ChatWork
from services.indexer.collections.records import RecordsUnavailable
from services.indexer.documents.document import ExtractionUnavailable
from services.indexer.embedding.gateway import EmbeddingFailed
from services.indexer.embedding.models import UnusableModel
from services.indexer.indexing.collection_indexer import IndexTask
from services.indexer.indexing.counts import Counts
from services.indexer.requests.outcome import GaveUp
from services.indexer.requests.run import Runner, _Request
from services.indexer.store.errors import StoreCorrupt, StoreUnavailable, UnknownTable
from services.indexer.store.tables import table_name
from tests.harness.requests.routed_requests import chat_work

REPORT = IndexReport(collection="docs", indexed=1)


class FakeIndexer:
    """Raises the errors in their order, or `always`; then it is done."""

    def __init__(self, *errors: Exception, always: Exception | None = None, takes_s: float = 0.0) -> None:
        self.errors = list(errors)
        self.always = always
        self.takes_s = takes_s
        self.tasks: list[IndexTask] = []
        self.given_up: list[IndexTask] = []

    async def index(self, task: IndexTask) -> IndexReport:
        self.tasks.append(task)
        await asyncio.sleep(self.takes_s)
        if self.errors or self.always is not None:
            raise self.errors.pop(0) if self.errors else cast("Exception", self.always)
        return REPORT

    async def abandon_model_change(self, task: IndexTask) -> None:
        self.given_up.append(task)


class FakeBodies:
    @asynccontextmanager
    async def read(self, work: ChatWork, until_s: float) -> AsyncIterator[IndexBody]:  # noqa: ARG002 - the interface
        yield IndexBody(delete=("a",))


async def ended(indexer: FakeIndexer, *, within_s: float = 1_000.0, **fields: Any) -> IndexReport:
    nothing: Any = None
    never: Any = SimpleNamespace(is_cancelled=lambda *_: False)
    runner = Runner(
        bus=nothing,
        instance="i",
        indexer=cast("Any", indexer),
        bodies=cast("Any", FakeBodies()),
        job_records=nothing,
        cancellable=never,
        metrics=nothing,
        tracer=nothing,
        clock=SYSTEM,
    )
    now_s = asyncio.get_running_loop().time()
    request = _Request(
        work=chat_work(
            **{"kind": "index", "role": "index", "collection": "docs", "accepted_ms": 1, **fields}
        ),
        delivery=cast("Any", SimpleNamespace(sequence=7)),
        reply=cast("Any", SimpleNamespace(attempt=1)),
        span=cast("Any", SimpleNamespace(traceparent=None)),
        deadline_s=now_s + within_s,
        started_s=now_s,
        queued_ms=0.0,
        counts=Counts(),
        on_written=lambda: None,
    )
    return await runner._report(request)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UnusableModel("no such model"), "invalid_request", "no such model"),
        (EmbeddingFailed("budget_exceeded", "nothing left", 60.0), "budget_exceeded", "nothing left"),
        (StoreUnavailable("/srv/index is full"), "retrieval_unavailable", "has no space"),
        (RecordsUnavailable("no leader"), "retrieval_unavailable", "no leader"),
        (ExtractionUnavailable("no memory"), "retrieval_unavailable", "no memory"),
        (nats.errors.NoRespondersError(), "retrieval_unavailable", "cannot be indexed now"),
        (TimeoutError("slow"), "retrieval_unavailable", "slow"),
        (StoreCorrupt("/srv/index: broken file"), "internal", "drop the collection, and index it again"),
        (UnknownTable(table_name("acme", "docs", 1)), "internal", "being replaced or dropped"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_d6_each_error_has_its_code(error: Exception, code: ErrorCode, message: str):
    indexer = FakeIndexer(always=error)
    with pytest.raises(GaveUp, match=message) as gave_up:
        await ended(indexer)
    assert gave_up.value.code == code
    assert "/srv" not in str(gave_up.value), "a client is told no paths of the server"
    assert indexer.given_up == []


async def test_d6_a_refusal_of_the_gateway_says_when_to_try_again():
    with pytest.raises(GaveUp) as gave_up:
        await ended(FakeIndexer(EmbeddingFailed("rate_limited", "slow down", 12.0)))
    assert (gave_up.value.code, gave_up.value.retry_after_s) == ("rate_limited", 12.0)


@pytest.mark.parametrize(
    "error", [StoreUnavailable("away"), RecordsUnavailable("no leader"), ExtractionUnavailable("no memory")]
)
async def test_h3_what_is_unavailable_for_a_moment_is_waited_for(error: Exception):
    indexer = FakeIndexer(error, error)
    assert await ended(indexer) is REPORT
    assert len(indexer.tasks) == 3
    assert len(set(map(id, indexer.tasks))) == 1


async def test_h3_what_stays_unavailable_is_given_up_after_five_minutes():
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    indexer = FakeIndexer(always=StoreUnavailable("away"))
    with pytest.raises(GaveUp) as gave_up:
        await ended(indexer, within_s=10_000.0)
    assert (gave_up.value.code, gave_up.value.retry_after_s) == ("retrieval_unavailable", 10.0)
    assert 280 < loop.time() - began_s <= 300
    assert len(indexer.tasks) < 40


async def test_d6_a_request_ends_at_its_deadline_and_gives_up_a_change_of_model():
    indexer = FakeIndexer(takes_s=60.0)
    with pytest.raises(GaveUp, match="deadline passed") as gave_up:
        await ended(indexer, within_s=5.0)
    assert gave_up.value.code == "deadline_exceeded"
    assert indexer.given_up == indexer.tasks


async def test_d6_a_process_that_stops_gives_up_nothing():
    indexer = FakeIndexer(takes_s=60.0)
    task = asyncio.create_task(ended(indexer))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(indexer.tasks) == 1
    assert indexer.given_up == []


@pytest.mark.parametrize("fields", [{"collection": "a b"}, {"collection": "memory-", "user": ""}])
async def test_d6_a_collection_that_cannot_be_is_refused(fields: dict[str, str]):
    indexer = FakeIndexer()
    with pytest.raises(GaveUp) as gave_up:
        await ended(indexer, **fields)
    assert gave_up.value.code == "invalid_request"
    assert indexer.tasks == []
