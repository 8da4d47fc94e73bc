"""F2: questions about spend."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest
from msgspec import Struct
from nats.aio.client import Client as Nats

from penstock.bus.clock import SYSTEM, ServerTime
from penstock.bus.tracing import NO_TRACER
from penstock.contract import codec, subjects
from penstock.contract.ledger.journal import JournalBatch
from penstock.contract.ledger.spend import SpendQuery
from services.ledger.handlers import PartitionHandlers, SpendHandler
from services.ledger.partitions.partition_state import PartitionState
from services.ledger.partitions.writer import Times
from services.ledger.spend.unwritten import UnwrittenView
from tests.unit.ledger.spend.settlements import settled

Answer = Callable[["Question"], Awaitable[None]]


class Question(Struct):
    data: bytes
    reply: str = "inbox"
    answer: bytes = b""

    async def respond(self, data: bytes) -> None:
        self.answer = data


class Connection:
    """Keeps the subscriptions."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}

    async def subscribe(self, subject: str, cb: Answer) -> None:
        self.answers[subject] = cb


async def test_f2_a_ledger_that_could_not_start_stops_without_an_error():
    await SpendHandler(Nats()).stop()


@pytest.mark.parametrize("query", [None, SpendQuery(since_s=0, until_s=2**40, by=("account",))])
async def test_f2_other_requests_are_answered_while_recent_spend_is_summed(
    monkeypatch: pytest.MonkeyPatch, query: SpendQuery | None
):
    summing, go_on, sum_up = threading.Event(), threading.Event(), UnwrittenView.recent

    def slow(view: UnwrittenView, query: SpendQuery | None = None) -> object:
        summing.set()
        assert go_on.wait(10)
        return sum_up(view, query)

    monkeypatch.setattr(UnwrittenView, "recent", slow)
    state, connection = PartitionState("1"), Connection()
    state.replay(JournalBatch(entries=(settled(1, picousd=7),)), 1)
    times = Times(SYSTEM, ServerTime(), lambda: True)
    await PartitionHandlers(connection, state, None, None, times, NO_TRACER).start_reports()
    question = Question(b"" if query is None else codec.encode(query))
    answering = asyncio.create_task(connection.answers[subjects.ledger_recent("1")](question))
    await asyncio.to_thread(summing.wait, 10)
    state.replay(JournalBatch(entries=(settled(2, picousd=90),)), 2)
    go_on.set()
    await answering
    recent = codec.RECENT_SPEND.decode(question.answer)
    assert (recent.through, [row.amounts.picousd for row in recent.rows]) == (1, [7])
