"""A bounded pull loop on durable JetStream consumers that share one pool of slots.

A mailbox requests no more messages than it has free slots, and only while its gate is open: this is the whole of
back-pressure. It prefers the first of its consumers and starves none, runs a task per message, extends the ack deadline
of each message in flight, sends one explicit verdict for each, drains on stop and recovers from server restarts.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from msgspec import Struct
from nats.aio.client import Client as Nats

from penstock.bus.connection import ConnectionEvents
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.headers import TRACEPARENT
from penstock.contract.streams import Consumer
from penstock.runtime.aio import CriticalLoop, cancel_and_wait
from penstock.runtime.consumer.delivery import Ack, Delivery, NoVerdict, Redeliver, Unprocessable, Verdict
from penstock.runtime.consumer.puller import Puller, withdraw
from penstock.runtime.consumer.scheduler import PullScheduler
from penstock.runtime.telemetry.logs import set_trace

__all__ = ["Mailbox", "MailboxPolicy"]

_log: Final = rate_limited_logger(__name__, by="text")
_RECHECK_S: Final = 1.0
"""Seconds between two checks of a closed gate or of a reduced number of slots."""
_WATCH_S: Final = 5.0
"""Seconds between two checks for silent pull requests."""
_REFUSED_WAIT_S: Final = 0.25
_LONGEST_RETRY_S: Final = 30.0
_LATE_S: Final = 0.25
"""Seconds after the withdrawal of pull requests in which late messages are still returned to the server."""
_ACK: Final = b"+ACK"
_TERM: Final = b"+TERM"
_IN_PROGRESS: Final = b"+WPI"

Handler = Callable[[Delivery], Awaitable[Verdict]]
Gate = Callable[[], float]
"""Seconds until the next pull makes sense; 0: now."""


def _open() -> float:
    return 0.0


def _unbounded() -> int:
    return sys.maxsize


class MailboxPolicy(Struct, frozen=True, kw_only=True):
    """The limits of a mailbox. `ack_wait_s` must equal the consumer's."""

    slots: int
    ack_wait_s: float
    max_deliver: int = 5
    gate: Gate = _open
    usable_slots: Callable[[], int] = _unbounded
    """Returns how many of the slots may be used at this moment."""


class _InFlight(Struct):
    delivery: Delivery
    task: asyncio.Task[None] | None = None


class _BackgroundRepair:
    """Runs `repair` in the background, at most once at a time: the fault may end before the repair does."""

    def __init__(self, name: str, repair: Callable[[], Awaitable[None]]) -> None:
        self._name = name
        self._repair = repair
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            await cancel_and_wait(self._task)

    async def _run(self) -> None:
        try:
            await self._repair()
        except Exception:
            _log.exception("%s: the repair failed", self._name)


class Mailbox:
    """Pulls from `consumers`, preferring the first, and runs `handle` on each message.

    At most `slots + consumers - 1` messages are in flight: the last long poll of each further consumer may be
    answered when all slots are in use. Nothing is requested then until a slot is free.

    `handle` returns the verdict; an exception counts as Redeliver with a growing delay. `dead_letter` stores a dead
    letter: it is called for the verdict Unprocessable, and for a message delivered more than `max_deliver` times.
    `repair` provisions the consumer again; it is called when the consumer seems to be missing.
    """

    def __init__(
        self,
        nc: Nats,
        consumers: Sequence[Consumer],
        policy: MailboxPolicy,
        *,
        handle: Handler,
        dead_letter: Callable[[Delivery, Unprocessable], Awaitable[None]],
        repair: Callable[[], Awaitable[None]],
    ) -> None:
        self.name = consumers[0].durable
        self.policy = policy
        self._nc = nc
        self._handle = handle
        self._dead_letter = dead_letter
        self._repairing = _BackgroundRepair(self.name, repair)
        self._scheduler = PullScheduler(len(consumers))
        self._in_flight: dict[tuple[int, int], _InFlight] = {}
        """By `Delivery.identity`."""
        self._awake = asyncio.Event()
        self._pullers = [Puller(nc, consumer, self._receive, self._awake.set) for consumer in consumers]
        self._waits_for_capacity = True
        """Decide what to request as soon as a message ends: the gate is closed, or some rank could use more slots."""
        self._held_back = True
        """At the last check the gate was closed, or not every slot could be used."""
        self._stopping = False
        self._connection_events: ConnectionEvents | None = None
        self._pull_task = CriticalLoop(f"pull {self.name}")
        self._keep_alive_task = CriticalLoop(f"keep {self.name}")
        self._verdicts: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        """The number of messages in flight."""
        return len(self._in_flight)

    @property
    def queued(self) -> int:
        """The number of undelivered messages of the consumers, as the server last reported it."""
        return sum(puller.source.pending for puller in self._pullers)

    async def start(self, events: ConnectionEvents) -> None:
        for puller in self._pullers:
            await puller.open()
        self._connection_events = events
        events.add_reconnect_listener(self._on_reconnect)
        self._pull_task.start(self._pull_loop())
        self._keep_alive_task.start(self._keep_alive_loop())

    def wake(self) -> None:
        """Check the gate again now if it held anything back, because capacity may have been released."""
        if self._held_back:
            self._awake.set()

    async def drain(self, grace_s: float) -> None:
        """Stop pulling, let running handlers finish for `grace_s`, and return the remaining messages to the server."""
        self._stopping = True
        self._awake.set()
        if self._connection_events is not None:
            self._connection_events.remove_reconnect_listener(self._on_reconnect)
            self._connection_events = None
        await withdraw(self._nc, self._pullers)
        clock_s = asyncio.get_running_loop().time
        listen_until_s = clock_s() + _LATE_S
        tasks = [held.task for held in self._in_flight.values() if held.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        for task in tasks:
            task.cancel()
        await asyncio.sleep(listen_until_s - clock_s())
        for puller in self._pullers:
            await puller.close()
        await asyncio.gather(*tasks, *self._verdicts, return_exceptions=True)
        await self._repairing.stop()
        await self._pull_task.stop()
        await self._keep_alive_task.stop()

    async def _on_reconnect(self) -> None:
        for puller in self._pullers:
            puller.forget()
        self._mark_possibly_redelivered()

    def _mark_possibly_redelivered(self) -> None:
        """Mark every message in flight as possibly redelivered to another process."""
        for held in self._in_flight.values():
            held.delivery.ack_overdue = True

    async def _pull_loop(self) -> None:
        while True:
            try:
                await self._pull()
                break
            except Exception:
                _log.exception("%s: pulling failed; trying again", self.name)
                await asyncio.sleep(_REFUSED_WAIT_S)
        await asyncio.Event().wait()  # the drain cancels it

    async def _pull(self) -> None:
        """Until drained, decide what to request whenever a request or a message has ended."""
        while not self._stopping:
            self._awake.clear()
            await self._recover()
            closed_s = self.policy.gate()
            self._waits_for_capacity = self._held_back = closed_s > 0.0
            if closed_s > 0.0:
                await self._sleep(min(closed_s, _RECHECK_S))
                continue
            slots = min(self.policy.slots, self.policy.usable_slots())
            self._held_back = slots < self.policy.slots
            await self._request(slots)
            await self._sleep(_RECHECK_S if self._held_back else _WATCH_S)

    async def _request(self, slots: int) -> None:
        sources = [puller.source for puller in self._pullers]
        requests = self._scheduler.requests(sources, slots, len(self._in_flight))
        self._waits_for_capacity = self._scheduler.wants_more
        for request in requests:
            if not self._stopping:
                await self._pullers[request.rank].request(request)

    async def _recover(self) -> None:
        """After a refused request wait briefly; after a second one of the same consumer start the repair."""
        for puller in self._pullers:
            puller.watch()
        refused = [puller for puller in self._pullers if puller.refused]
        if not refused or self._stopping:
            return
        await asyncio.sleep(_REFUSED_WAIT_S)
        again = any(puller.refusals > 1 for puller in refused)  # once: perhaps the server is just going down
        for puller in refused:
            puller.refused = False
        if again and not self._stopping:
            self._mark_possibly_redelivered()
            self._repairing.start()

    async def _sleep(self, timeout_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._awake.wait()

    async def _keep_alive_loop(self) -> None:
        clock_s = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(self.policy.ack_wait_s / 2)
            for held in tuple(self._in_flight.values()):
                delivery = held.delivery
                # An extension after the deadline is too late: this process was frozen or too busy.
                delivery.ack_overdue = delivery.may_be_redelivered(clock_s())
                try:
                    await self._nc.publish(delivery.ack_subject, _IN_PROGRESS)
                    delivery.ack_deadline_s = clock_s() + self.policy.ack_wait_s
                except Exception as error:
                    _log.warning("%s: cannot extend the ack deadline of a message: %r", self.name, error)

    def _receive(self, delivery: Delivery) -> None:
        held = self._in_flight.get(delivery.identity)
        if held is not None:
            held.delivery.ack_subject = delivery.ack_subject
            held.delivery.ack_overdue = True
            return
        if self._stopping:
            self._send_verdict_soon(delivery, Redeliver())
            return
        if len(self._in_flight) >= 2 * self.policy.slots + len(self._pullers):
            # A former pull request was answered in addition to the new one.
            self._send_verdict_soon(delivery, Redeliver(_REFUSED_WAIT_S))
            return
        delivery.ack_deadline_s = asyncio.get_running_loop().time() + self.policy.ack_wait_s
        held = _InFlight(delivery)
        self._in_flight[delivery.identity] = held
        held.task = asyncio.create_task(self._run(delivery))

    async def _run(self, delivery: Delivery) -> None:
        set_trace(delivery.headers.get(TRACEPARENT))
        try:
            await self._send_verdict(delivery, await self._verdict(delivery))
        finally:
            del self._in_flight[delivery.identity]
            if self._waits_for_capacity:
                self._awake.set()

    async def _verdict(self, delivery: Delivery) -> Verdict:
        try:
            if delivery.number > self.policy.max_deliver:
                return Unprocessable(
                    "undeliverable", f"delivered {delivery.number - 1} times without a verdict"
                )
            return await self._handle(delivery)
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            return Redeliver()
        except Exception:
            _log.exception("%s: a handler failed on delivery %d", self.name, delivery.number)
            return Redeliver(min(2.0 ** (delivery.number - 1), _LONGEST_RETRY_S))

    def _send_verdict_soon(self, delivery: Delivery, verdict: Verdict) -> None:
        task = asyncio.create_task(self._send_verdict(delivery, verdict))
        self._verdicts.add(task)
        task.add_done_callback(self._verdicts.discard)

    async def _send_verdict(self, delivery: Delivery, verdict: Verdict) -> None:
        """Send the verdict. If that fails the message is redelivered, and its processing is idempotent."""
        try:
            match verdict:
                case Ack():
                    await self._nc.publish(delivery.ack_subject, _ACK)
                case NoVerdict():
                    pass
                case Redeliver(delay_s, to_other_process):
                    if to_other_process:
                        await self._withdraw_requests()
                    await self._nc.publish(delivery.ack_subject, _nak(delay_s))
                case Unprocessable():
                    await self._dead_letter(delivery, verdict)
                    await self._nc.publish(delivery.ack_subject, _TERM)
        except Exception:
            _log.exception("%s: a verdict could not be sent; the message will be redelivered", self.name)

    async def _withdraw_requests(self) -> None:
        """The server processes one connection's messages in order, so a message returned after this goes elsewhere."""
        for puller in self._pullers:
            await puller.withdraw_request()
        self._awake.set()


def _nak(delay_s: float) -> bytes:
    return b'-NAK {"delay": %d}' % int(delay_s * 1e9) if delay_s > 0 else b"-NAK"
