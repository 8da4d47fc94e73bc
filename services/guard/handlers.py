"""Requests to the guard: checks, which any guard answers, and the topics of texts for the router."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, Protocol

import nats.errors
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from penstock.bus.clock import loop_now_s
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.nats_patches import unsubscribe_at_server
from penstock.contract import codec, subjects
from penstock.contract.guard.checks import KEEP_ALIVE_AFTER_S, KEEP_ALIVE_EVERY_S, Classification
from penstock.contract.headers import TRACEPARENT
from penstock.runtime.aio import cancel_and_wait
from penstock.runtime.byte_budget import ByteBudget
from services.guard.checker import Checker
from services.guard.classifier.batching import EncoderOverloaded
from services.guard.metrics import GuardMetrics

__all__ = ["CheckHandler", "ClassifyHandler", "Topics"]

_log: Final = rate_limited_logger(__name__)
_QUEUE: Final = "guard"
_FLUSH_S: Final = 2
_MOST_CHECKS: Final = 2_048
_MOST_BYTES: Final = 48 * 1024 * 1024
"""Checks that are answered at once, and their bytes. More are dropped before they are decoded; their senders repeat
them, and another guard may have room."""
_MOST_TEXTS: Final = 8
"""Texts that are classified at once: further ones would be too late for the router, which waits for 15 ms."""
_USEFUL_S: Final = 0.05
"""Seconds after which a topic is not sent any more."""


class CheckHandler:
    def __init__(self, nc: Nats, checker: Checker, metrics: GuardMetrics, instance: str) -> None:
        self._nc = nc
        self._checker = checker
        self._instance = instance
        self._metrics = metrics
        self._bytes = ByteBudget(_MOST_BYTES)
        self._running: set[asyncio.Task[None]] = set()
        self._replies: set[str] = set()
        """Where the running checks are answered: a check that is repeated meanwhile has the same."""
        self._subscriptions: list[Subscription] = []

    async def start(self) -> None:
        own = subjects.GUARD_CHECK_OF.format(instance=self._instance)
        for subject, queue in ((own, ""), (subjects.GUARD_CHECK, _QUEUE)):
            self._subscriptions.append(
                await self._nc.subscribe(
                    subject, queue=queue, cb=self._on_check, pending_bytes_limit=_MOST_BYTES
                )
            )

    async def stop(self, within_s: float) -> None:
        """Take no more checks, and answer those that run."""
        for subscription in self._subscriptions:
            await _unsubscribe(self._nc, subscription)
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=within_s)
            await cancel_and_wait(*late)

    async def _on_check(self, msg: Msg) -> None:
        size = len(msg.data)
        if not msg.reply or msg.reply in self._replies:
            return
        if len(self._running) >= _MOST_CHECKS:
            self._drop(f"{_MOST_CHECKS} checks run already")
            return
        if not self._bytes.try_hold(size, _QUEUE):
            self._drop(f"with its {size} bytes the checks that run would have more than {_MOST_BYTES}")
            return
        task = asyncio.create_task(self._answer(msg))
        self._running.add(task)
        self._replies.add(msg.reply)
        self._metrics.in_flight.inc()
        self._metrics.bytes_in_flight.inc(size)
        task.add_done_callback(lambda task: self._end(task, msg.reply, size))

    def _drop(self, why: str) -> None:
        self._metrics.dropped.labels("full").inc()
        _log.warning("a check is dropped: %s", why)

    def _end(self, task: asyncio.Task[None], reply: str, size: int) -> None:
        self._running.discard(task)
        self._replies.discard(reply)
        self._bytes.release(size, _QUEUE)
        self._metrics.in_flight.dec()
        self._metrics.bytes_in_flight.dec(size)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a check failed: %s", type(error).__name__)

    async def _answer(self, msg: Msg) -> None:
        try:
            check = codec.GUARD_CHECK.decode(msg.data)
        except codec.INVALID as error:
            self._metrics.dropped.labels("malformed").inc()
            _log.warning("a check cannot be read: %s", error)
            return
        keep_alive = _KeepAlive(self._nc, msg.reply)
        try:
            verdict = await self._checker.verdict(check, (msg.headers or {}).get(TRACEPARENT))
        finally:
            keep_alive.stop()
        try:
            await self._nc.publish(msg.reply, codec.encode(verdict))
        except nats.errors.Error as error:
            _log.warning("a verdict cannot be sent: %r", error)


class _KeepAlive:
    """Empty messages to the sender of a check while its verdict takes long."""

    def __init__(self, nc: Nats, reply: str) -> None:
        self._nc = nc
        self._reply = reply
        self._loop = asyncio.get_running_loop()
        self._next = self._loop.call_later(KEEP_ALIVE_AFTER_S, self._send)
        self._sending: asyncio.Task[None] | None = None

    def stop(self) -> None:
        self._next.cancel()

    def _send(self) -> None:
        self._next = self._loop.call_later(KEEP_ALIVE_EVERY_S, self._send)
        self._sending = asyncio.create_task(self._publish())

    async def _publish(self) -> None:
        with contextlib.suppress(nats.errors.Error):  # the connection is lost, and the verdict will be too
            await self._nc.publish(self._reply)


class Topics(Protocol):
    async def classify(self, text: str) -> Classification:
        """Raises EncoderOverloaded."""
        ...


class ClassifyHandler:
    """Answers only while the answer is of use: the router goes on without it."""

    def __init__(
        self, nc: Nats, topics: Topics, metrics: GuardMetrics, now_s: Callable[[], float] = loop_now_s
    ) -> None:
        self._nc = nc
        self._topics = topics
        self._metrics = metrics
        self._now_s = now_s
        self._running: set[asyncio.Task[None]] = set()
        self._subscription: Subscription | None = None

    async def start(self) -> None:
        self._subscription = await self._nc.subscribe(subjects.CLASSIFY, queue=_QUEUE, cb=self._on_text)

    async def stop(self) -> None:
        await _unsubscribe(self._nc, self._subscription)
        await cancel_and_wait(*self._running)

    async def _on_text(self, msg: Msg) -> None:
        if not msg.reply:
            return
        if len(self._running) >= _MOST_TEXTS:
            self._metrics.classified.labels("full").inc()
            return
        task = asyncio.create_task(self._answer(msg, self._now_s() + _USEFUL_S))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _answer(self, msg: Msg, until_s: float) -> None:
        try:
            request = codec.CLASSIFY_REQUEST.decode(msg.data)
        except codec.INVALID as error:
            self._metrics.classified.labels("malformed").inc()
            _log.warning("a text to classify cannot be read: %s", error)
            return
        try:
            found = await self._topics.classify(request.text)
        except EncoderOverloaded:
            self._metrics.classified.labels("full").inc()
            return
        if self._now_s() > until_s:
            self._metrics.classified.labels("late").inc()
            return
        self._metrics.classified.labels(found.topic).inc()
        with contextlib.suppress(nats.errors.Error):  # the router goes on without it
            await self._nc.publish(msg.reply, codec.encode(found))


async def _unsubscribe(nc: Nats, subscription: Subscription | None) -> None:
    """Return when everything that was sent to this process is being answered."""
    if subscription is None:
        return
    with contextlib.suppress(nats.errors.Error, TimeoutError):  # without a connection nothing arrives
        await unsubscribe_at_server(nc, subscription)
        await nc.flush(_FLUSH_S)
    while subscription.pending_msgs:  # noqa: ASYNC110 - nats-py has no event for it
        await asyncio.sleep(0)
    with contextlib.suppress(nats.errors.Error):
        await subscription.unsubscribe()
