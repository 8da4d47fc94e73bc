"""Questions about one partition: holds go to its writer, reports are answered from its state."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Final

import msgspec
import nats.errors
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.errors import APIError

from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.nats_patches import unsubscribe_at_server
from penstock.bus.trace_names import ACCOUNT, REQUEST_ID, SPAN_HOLD
from penstock.bus.tracing import NO_SPAN, Span, Tracer
from penstock.contract import codec, subjects
from penstock.contract.headers import ERROR, ERROR_CODE, TRACEPARENT
from penstock.contract.ledger.holds import HoldRequest
from penstock.contract.ledger.spend import SpendQuery
from penstock.contract.ledger.status import BudgetReport
from penstock.runtime.aio import cancel_and_wait
from services.ledger.budget.policies import Policies
from services.ledger.partitions.asked import AskedHold, InvalidHold, Question, read_question, refused
from services.ledger.partitions.group_decider import AskedBatch
from services.ledger.partitions.partition_state import PartitionState
from services.ledger.partitions.writer import Times, Writer
from services.ledger.spend.answer import answer_spend
from services.ledger.spend.history import HistoryChanged
from services.ledger.spend.unwritten import UnwrittenView

__all__ = ["PartitionHandlers", "SpendHandler"]

_log: Final = rate_limited_logger(__name__)
_FLUSH_S: Final = 2
_QUEUE: Final = "ledger"
_MOST_REASON: Final = 500
"""Characters of the reason why a query has no answer."""
_SPEND_AT_ONCE: Final = 4
"""Spend queries that are answered at once."""


class PartitionHandlers:
    """Subscribed while this process owns the partition.

    Not in a queue group: a frozen process would receive a part of the questions, and no one would answer them.
    """

    def __init__(
        self,
        nc: Nats,
        state: PartitionState,
        writer: Writer,
        policies: Policies,
        times: Times,
        tracer: Tracer,
    ) -> None:
        self._nc = nc
        self._state = state
        self._writer = writer
        self._policies = policies
        self._times = times
        self._tracer = tracer
        self._is_system = state.partition == subjects.SYSTEM_PARTITION
        self._subscriptions: list[Subscription] = []

    async def start_holds(self) -> None:
        """Take holds, which the writer answers when it owns the partition."""
        subject = subjects.ledger_hold(self._state.partition)
        self._subscriptions.append(await self._nc.subscribe(subject, cb=self._on_hold))

    async def start_reports(self) -> None:
        """Answer the questions about the state."""
        partition = self._state.partition
        self._subscriptions += [
            await self._nc.subscribe(subjects.ledger_budget(partition), cb=self._on_budget),
            await self._nc.subscribe(subjects.ledger_recent(partition), cb=self._on_recent),
        ]

    async def stop(self) -> None:
        """Return when everything that was sent to this process is at the writer or answered."""
        with contextlib.suppress(nats.errors.Error, TimeoutError):  # without a connection nothing arrives
            for subscription in self._subscriptions:
                await unsubscribe_at_server(self._nc, subscription)
            await self._nc.flush(_FLUSH_S)
        for subscription in self._subscriptions:
            while subscription.pending_msgs:  # noqa: ASYNC110 - nats-py has no event for it
                await asyncio.sleep(0)
            with contextlib.suppress(nats.errors.Error):
                await subscription.unsubscribe()
        self._subscriptions = []

    async def _on_hold(self, msg: Msg) -> None:
        if not msg.reply:
            return
        question = Question(msg.data, msg.reply, msg.headers or {}, time.monotonic())
        try:
            read = read_question(msg.data, of_system=self._is_system)
        except InvalidHold as error:
            await msg.respond(codec.encode(refused("", str(error))))
            return
        if isinstance(read, HoldRequest):
            await self._writer.offer(AskedHold(read, question, self._span(read, question)))
        else:
            await self._writer.offer(AskedBatch(read, question))

    def _span(self, request: HoldRequest, question: Question) -> Span:
        parent = question.headers.get(TRACEPARENT)
        if parent is None:
            return NO_SPAN
        attributes = {ACCOUNT: request.account, REQUEST_ID: request.id.rpartition(".")[2]}
        return self._tracer.start(SPAN_HOLD, "server", parent=parent, attributes={**attributes})

    async def _on_budget(self, msg: Msg) -> None:
        if not msg.reply or not self._times.in_contact():
            return
        try:
            query = codec.BUDGET_QUERY.decode(msg.data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            _log.warning("a budget query cannot be read: %s", error)
            await _answer_error(self._nc, msg, "400", f"the message is not a budget_query: {error}")
            return
        now_ms = self._times.server.unix_ms()
        status = self._state.budget.status(query, self._policies, now_ms)
        await msg.respond(codec.encode(BudgetReport(status=status, at_ms=now_ms)))

    async def _on_recent(self, msg: Msg) -> None:
        if not msg.reply or not self._times.in_contact():
            return
        try:
            query = codec.SPEND_QUERY.decode(msg.data) if msg.data else None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            _log.warning("a question about recent spend cannot be read: %s", error)
            return
        view = self._state.spend.view(self._state.journal_sequence)
        # In a thread, because 12,500 users take a tenth of a second.
        await msg.respond(await asyncio.to_thread(_encoded_recent, view, query))


def _encoded_recent(view: UnwrittenView, query: SpendQuery | None) -> bytes:
    return codec.encode(view.recent(query))


class SpendHandler:
    """Answers queries about spend, which any ledger can."""

    def __init__(self, nc: Nats) -> None:
        self._nc = nc
        self._slots = asyncio.Semaphore(_SPEND_AT_ONCE)
        self._answering: set[asyncio.Task[None]] = set()
        self._subscription: Subscription | None = None

    async def start(self) -> None:
        self._subscription = await self._nc.subscribe(subjects.LEDGER_SPEND, queue=_QUEUE, cb=self._on_query)

    async def stop(self) -> None:
        """Take no more queries, and finish those that were taken. Harmless before `start`."""
        if self._subscription is not None:
            with contextlib.suppress(nats.errors.Error):
                await self._subscription.unsubscribe()
        if self._answering:
            await asyncio.wait(self._answering, timeout=_FLUSH_S)
            await cancel_and_wait(*self._answering)

    async def _on_query(self, msg: Msg) -> None:
        await self._slots.acquire()
        task = asyncio.create_task(self._answer(msg), name="spend query")
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, msg: Msg) -> None:
        try:
            await msg.respond(await answer_spend(self._nc, msg.data))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            _log.warning("a spend query cannot be read: %s", error)
            await _answer_error(self._nc, msg, "400", f"the message is not a spend_query: {error}")
        except (HistoryChanged, ValueError, nats.errors.Error, APIError, TimeoutError) as error:
            _log.warning("a spend query cannot be answered now: %r", error)
            await _answer_error(self._nc, msg, "503", f"the spend history cannot be read now: {error!r}")
        finally:
            self._slots.release()


async def _answer_error(nc: Nats, msg: Msg, code: str, reason: str) -> None:
    """Answer with the reason why there is no report. Nothing is sent while the connection is lost."""
    if not msg.reply:
        return
    printable = reason.encode("ascii", "backslashreplace").decode()
    headers = {ERROR_CODE: code, ERROR: " ".join(printable.split())[:_MOST_REASON]}
    with contextlib.suppress(nats.errors.Error):
        await nc.publish(msg.reply, headers=headers)
