"""Work message → request → verdict; question → answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import nats.errors
from msgspec import Struct
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from penstock.bus.nats_patches import unsubscribe_at_server
from penstock.contract import codec
from penstock.contract.headers import TRACEPARENT
from penstock.contract.names import INDEX
from penstock.contract.retrieval import subjects as retrieval_subjects
from penstock.contract.work import ChatWork
from penstock.runtime.aio import cancel_and_wait
from penstock.runtime.cancellation import CancellableRequests
from penstock.runtime.consumer.delivery import ACK, Delivery, Redeliver, Unprocessable, Verdict
from penstock.runtime.consumer.work_message import InvalidWork
from penstock.runtime.redelivery.dead_request import DeadRequests
from penstock.runtime.redelivery.job_record import JobRecords
from penstock.runtime.redelivery.prior_attempts_reader import PriorAttemptsReader
from penstock.runtime.server_time_reader import FreshTime
from services.indexer.metrics import IndexerMetrics
from services.indexer.requests.bodies import RequestBodies
from services.indexer.requests.checked_work import read_work
from services.indexer.requests.outcome import GaveUp
from services.indexer.requests.run import Runner
from services.indexer.requests.scheduler import RequestScheduler, ScheduledRequest, Stopping
from services.indexer.search.answering import Answers, Asked
from services.indexer.search.question_places import QuestionPlaces

__all__ = ["SearchHandler", "WorkHandler"]

_Answer = Callable[[Asked], Awaitable[msgspec.Struct]]
_QUEUE: Final = "indexer"
"""The queue group: one of the running indexers gets each question."""
_MAX_QUESTIONS: Final = 512
"""Questions of all accounts that are answered or wait for a vector at once; further ones are refused as overloaded."""
_FLUSH_S: Final = 2
"""Seconds to wait for the server to confirm the end of a subscription, during a stop."""
_ANY_ACCOUNT: Final = "*"
_RETURNED: Final = Redeliver(1.0)
"""For a request that was not begun. Until then this process has withdrawn its pull requests."""


class WorkHandler(Struct, frozen=True):
    """Handles the messages of both mailboxes."""

    prior_attempts: PriorAttemptsReader
    job_records: JobRecords
    runner: Runner
    dead_requests: DeadRequests
    bodies: RequestBodies
    scheduler: RequestScheduler
    cancellable: CancellableRequests
    time: FreshTime
    metrics: IndexerMetrics
    max_attempts: int
    """A message is delivered more often: also when a process stops while it waits for a slot."""

    async def handle(self, delivery: Delivery) -> Verdict:
        try:
            work = read_work(delivery.subject, delivery.data)
        except InvalidWork as error:
            return Unprocessable("invalid_request", f"the message is not valid work: {error}")
        async with self.scheduler.enter(work) as request:
            try:
                await self._wait(request, work)
            except Stopping:
                return _RETURNED
            prior = await self.prior_attempts.read(delivery, work.reply_to)
            if work.lane == "batch":
                prior = await self.job_records.prior_attempts(work, delivery, prior)
            if prior.ended:
                await self.bodies.delete(work)  # the earlier process may have died before it did
                return ACK
            if prior.attempt >= self.max_attempts:
                return Unprocessable("undeliverable", f"begun {prior.attempt} times without an end")
            return await self.runner.run(
                work, prior, delivery, lambda: self.scheduler.leave_collection(request)
            )

    async def _wait(self, request: ScheduledRequest, work: ChatWork) -> None:
        """Until the request may begin. One that is cancelled or late meanwhile begins, and ends at once."""
        await self.time.read_if_passed(work.deadline_ms, since_ms=work.accepted_ms)
        left_s = (work.deadline_ms - self.time.clock.steady_ms(work.accepted_ms)) / 1000
        with contextlib.suppress(GaveUp, TimeoutError), self.cancellable.entered(work):
            async with asyncio.timeout(left_s):
                await request.begins

    async def dead_letter(self, delivery: Delivery, dead: Unprocessable) -> None:
        await self.dead_requests.end(INDEX, delivery, dead)
        self.metrics.dead.inc()
        self.metrics.requests.labels(dead.code).inc()
        with contextlib.suppress(InvalidWork):
            await self.runner.abandon_model_change(read_work(delivery.subject, delivery.data), delivery)


class SearchHandler:
    """Answers searches, and lists of documents and collections. The account is that of the subject, whatever the
    message says.
    """

    def __init__(self, nc: Nats, answers: Answers) -> None:
        self._nc = nc
        self._answers = answers
        self._running: set[asyncio.Task[None]] = set()
        self._places = QuestionPlaces(_MAX_QUESTIONS)
        self._subscriptions: list[Subscription] = []

    async def start(self) -> None:
        answers: tuple[tuple[str, _Answer], ...] = (
            (retrieval_subjects.search(_ANY_ACCOUNT), self._answers.search),
            (retrieval_subjects.documents(_ANY_ACCOUNT), self._answers.documents),
            (retrieval_subjects.collections(_ANY_ACCOUNT), self._answers.collections),
        )
        for subject, answer in answers:
            self._subscriptions.append(await self._subscribe(subject, answer))

    async def stop(self, within_s: float) -> None:
        """Take no more questions, and answer those that came."""
        for subscription in self._subscriptions:
            with contextlib.suppress(nats.errors.Error, TimeoutError):  # without a connection nothing arrives
                await unsubscribe_at_server(self._nc, subscription)
                await self._nc.flush(_FLUSH_S)
            while subscription.pending_msgs:  # noqa: ASYNC110 - nats-py has no event for it
                await asyncio.sleep(0)
            with contextlib.suppress(nats.errors.Error):
                await subscription.unsubscribe()
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=within_s)
            await cancel_and_wait(*late)

    async def _subscribe(self, subject: str, answer: _Answer) -> Subscription:
        async def on_message(msg: Msg) -> None:
            if not msg.reply:
                return
            account = _account(msg)
            if not self._places.enter(account):
                await self._send(msg, self._answers.overloaded(self._places.taken))
                return
            task = asyncio.create_task(self._answer(msg, answer))
            self._running.add(task)
            task.add_done_callback(lambda done: self._end(done, account))

        return await self._nc.subscribe(subject, queue=_QUEUE, cb=on_message)

    def _end(self, task: asyncio.Task[None], account: str) -> None:
        self._running.discard(task)
        self._places.leave(account)

    async def _answer(self, msg: Msg, answer: _Answer) -> None:
        traceparent = (msg.headers or {}).get(TRACEPARENT)
        await self._send(msg, await answer(Asked(_account(msg), msg.data, traceparent)))

    async def _send(self, msg: Msg, answer: msgspec.Struct) -> None:
        with contextlib.suppress(nats.errors.Error):  # the sender asks again
            await self._nc.publish(msg.reply, codec.encode(answer))


def _account(msg: Msg) -> str:
    return msg.subject.rpartition(".")[2]
