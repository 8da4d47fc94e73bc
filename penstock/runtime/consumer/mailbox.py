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
from functools import partial
from typing import Final, Protocol

from msgspec import Struct
from nats.aio.client import Client as Nats

from penstock.bus.clock import loop_now_s
from penstock.bus.connection import ConnectionEvents
from penstock.bus.freezes import follows_silence
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.wire.sending import send
from penstock.contract.headers import TRACEPARENT
from penstock.contract.streams import Consumer
from penstock.runtime.aio import CriticalLoop
from penstock.runtime.consumer.background_repair import BackgroundRepair
from penstock.runtime.consumer.delivery import (
    NO_VERDICT,
    Ack,
    Delivery,
    NoVerdict,
    Redeliver,
    Unprocessable,
    Verdict,
)
from penstock.runtime.consumer.puller import Puller, withdraw
from penstock.runtime.consumer.rank_order import RankOrder
from penstock.runtime.consumer.scheduler import PullPlan, PullRequest, Source, forget_closed
from penstock.runtime.telemetry.logs import set_trace

__all__ = ["Mailbox", "MailboxPolicy", "Scheduler"]

_log: Final = rate_limited_logger(__name__, by="text")
_RECHECK_S: Final = 1.0
"""Seconds between two checks of a closed gate or of a reduced number of slots. Silent pull requests are looked for at
most that often."""
_WATCH_S: Final = 5.0
"""Longest time in seconds between two checks for silent pull requests, while no request and no message ends."""
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


class Scheduler(Protocol):
    """Decides what to request from the consumers, where these are no ranks: `queue_scheduler`."""

    wants_more: bool
    """At the last decision some consumer could use more slots."""

    def requests(self, sources: Sequence[Source], slots: int, held: Sequence[int]) -> list[PullRequest]:
        """What to request now, with so many messages of each consumer in flight."""
        ...


class MailboxPolicy(Struct, frozen=True, kw_only=True):
    """The limits of a mailbox. `ack_wait_s` must equal the consumer's."""

    slots: int
    ack_wait_s: float
    max_deliver: int = 5
    gate: Gate = _open
    usable_slots: Callable[[], int] = _unbounded
    """Returns how many of the slots may be used at this moment."""
    scheduler: Scheduler | None = None
    """None: the consumers are ranks."""
    most_bytes: int = sys.maxsize
    """Bytes of messages in flight from which on a consumer known to hold more is asked for none. A request that is open
    then may still bring as many as the largest message has.
    """


class _InFlight(Struct):
    delivery: Delivery
    task: asyncio.Task[None] | None = None


class Mailbox:
    """Pulls from `consumers`, preferring the first, and runs `handle` on each message.

    At most `slots + consumers - 1` messages are in flight: the last long poll of each further consumer may be answered
    when all slots are in use. Nothing is requested then until a slot is free. The first two consumers may have more
    beside messages of later ones (`scheduler.slots_beside`).

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
        self._repairing = BackgroundRepair(self.name, repair)
        self._ranks = RankOrder(nc, consumers)
        """The order of the consumers, unless the policy has a scheduler."""
        self._in_flight: dict[tuple[int, int], _InFlight] = {}
        """By `Delivery.identity`."""
        self._in_flight_bytes = 0
        self._in_flight_of = [0] * len(consumers)
        """By the rank of their consumer."""
        self._awake = asyncio.Event()
        is_bounded = policy.most_bytes < sys.maxsize
        self._pullers = [
            Puller(nc, consumer, partial(self._receive, rank), self._awake.set, bounded=is_bounded)
            for rank, consumer in enumerate(consumers)
        ]
        self._waits_for_capacity = True
        """Decide what to request as soon as a message ends: the gate is closed, or some rank could use more slots."""
        self._held_back = True
        """At the last check the gate was closed, or not every slot could be used."""
        self._stopping = False
        self._watch_again_s = 0.0
        """When silent pull requests are looked for next, on the loop's clock."""
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
                forget_closed(self._sources())
                await self._sleep(min(closed_s, _RECHECK_S))
                continue
            slots = min(self.policy.slots, self.policy.usable_slots())
            self._held_back = slots < self.policy.slots
            await self._request(slots)
            await self._sleep(_RECHECK_S if self._held_back else _WATCH_S)

    async def _request(self, slots: int) -> None:
        for _ in range(len(self._pullers) + 1):  # each time but the last at least one long poll is withdrawn
            plan = await self._plan(slots if self._in_flight_bytes < self.policy.most_bytes else 0)
            self._waits_for_capacity = plan.wants_more
            for rank in plan.withdrawn:
                await self._pullers[rank].withdraw_request()
            for request in plan.requests:
                if not self._stopping:
                    await self._pullers[request.rank].request(request)
            if not plan.withdrawn:
                break

    async def _plan(self, slots: int) -> PullPlan:
        """What to request now."""
        if (scheduler := self.policy.scheduler) is not None:
            requests = scheduler.requests(self._sources(), slots, self._in_flight_of)
            return PullPlan(tuple(requests), wants_more=scheduler.wants_more)
        turn = await self._ranks.next_turn(self._sources(), slots, self._in_flight_of)
        return self._ranks.plan(self._sources(), slots, self._in_flight_of, turn)

    def _sources(self) -> list[Source]:
        return [puller.source for puller in self._pullers]

    async def _recover(self) -> None:
        """After a refused request wait briefly; after a second one of the same consumer start the repair."""
        now_s = loop_now_s()
        if now_s >= self._watch_again_s:  # not whenever a message ends: a router has 37 pullers
            self._watch_again_s = now_s + _RECHECK_S
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

    def _receive(self, rank: int, delivery: Delivery, withdrawn: bool) -> None:  # noqa: FBT001 - a callback
        self._ranks.observe(rank, delivery)
        identity = delivery.identity
        held = self._in_flight.get(identity)
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
        late = withdrawn and delivery.number == 1 and len(self._in_flight) >= self.policy.slots
        if late or self._ranks.is_early(rank, delivery):
            # Its request was withdrawn, or it is not the message for which it was sent: others may have to start first.
            self._send_verdict_soon(delivery, Redeliver())
            return
        delivery.ack_deadline_s = delivery.arrived_s + self.policy.ack_wait_s
        # A server that did not run has not read that the holder of the message extended its deadline.
        # It may have queued that long behind others.
        delivery.ack_overdue = delivery.number > 1 and follows_silence(self._nc, self.policy.ack_wait_s)
        held = _InFlight(delivery)
        self._in_flight[identity] = held
        self._in_flight_bytes += len(delivery.data)
        self._in_flight_of[rank] += 1
        held.task = asyncio.get_running_loop().create_task(self._run(delivery, rank))

    async def _run(self, delivery: Delivery, rank: int) -> None:
        set_trace(delivery.headers.get(TRACEPARENT))
        try:
            try:
                if delivery.number > self.policy.max_deliver:
                    verdict = self._undeliverable(delivery)
                else:
                    verdict = await self._handle(delivery)
            except asyncio.CancelledError:
                if not self._stopping:
                    raise
                verdict = Redeliver()
            except Exception:
                _log.exception("%s: a handler failed on delivery %d", self.name, delivery.number)
                verdict = Redeliver(min(2.0 ** (delivery.number - 1), _LONGEST_RETRY_S))
            if not isinstance(verdict, Ack) or not send(self._nc, delivery.ack_subject, _ACK):
                await self._send_verdict(delivery, verdict)
        finally:
            del self._in_flight[delivery.identity]
            self._in_flight_bytes -= len(delivery.data)
            self._in_flight_of[rank] -= 1
            if self._waits_for_capacity:
                self._awake.set()

    def _undeliverable(self, delivery: Delivery) -> Verdict:
        """The verdict for a message that was delivered too often."""
        if delivery.may_be_redelivered(loop_now_s()):
            return NO_VERDICT  # its holder may be alive: a server that was frozen again and again sent it
        return Unprocessable("undeliverable", f"delivered {delivery.number - 1} times without a verdict")

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
