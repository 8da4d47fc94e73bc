"""A bounded pull loop on durable JetStream consumers that share one pool of slots.

It asks for no more messages than it has free slots, and only while its gate is open; prefers the first of its
consumers and starves none; runs a task per message; keeps each from being delivered again while it is held; gives each
one explicit verdict; drains on stop; recovers when the server was restarted. That is the whole of back-pressure.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from msgspec import Struct
from nats.aio.client import Client as Nats

from penstock.bus.connection import Reconnects
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.headers import TRACEPARENT
from penstock.contract.streams import Consumer
from penstock.runtime.aio import CriticalLoop
from penstock.runtime.consumer.delivery import Ack, DeadLetter, Delivery, NoVerdict, Retry, Verdict
from penstock.runtime.consumer.puller import Puller, withdraw
from penstock.runtime.consumer.repair import BackgroundRepair
from penstock.runtime.consumer.scheduler import PullScheduler
from penstock.runtime.telemetry.logs import set_trace

__all__ = ["Mailbox", "MailboxPolicy"]

_log: Final = rate_limited_logger(__name__, by="text")
_RECHECK_S: Final = 1.0
"""The gate, and how many slots may be used, are looked at again this often."""
_WATCH_S: Final = 5.0
_REFUSED_WAIT_S: Final = 0.25
_LONGEST_RETRY_S: Final = 30.0
_LATE_S: Final = 0.25
"""How long after its withdrawal a mailbox gives back what was on its way to it."""
_ACK: Final = b"+ACK"
_TERM: Final = b"+TERM"
_IN_PROGRESS: Final = b"+WPI"

Handler = Callable[[Delivery], Awaitable[Verdict]]
Gate = Callable[[], float]
"""Seconds until it makes sense to pull; 0: now."""


def _open() -> float:
    return 0.0


def _unbounded() -> int:
    return sys.maxsize


class MailboxPolicy(Struct, frozen=True, kw_only=True):
    """How a mailbox behaves. `ack_wait_s` must be the consumer's."""

    slots: int
    ack_wait_s: float
    max_deliver: int = 5
    gate: Gate = _open
    at_most: Callable[[], int] = _unbounded
    """How many of the slots may be used at this moment."""


class _Held(Struct):
    delivery: Delivery
    task: asyncio.Task[None] | None = None


class Mailbox:
    """Pulls from `consumers`, the first preferred, and runs `handle` on each message.

    All slots may be taken when the last standing requests are answered: then up to one message for each consumer but
    one runs beside them, and nothing is asked for until fewer run than there are slots.

    `handle` returns the verdict; an exception counts as a Retry with a growing delay. `dead_letter` stores a dead
    letter: it is called for a DeadLetter verdict, and for a message delivered more than `max_deliver` times. `repair`
    provisions the consumer again; it is called when the consumer seems to be missing.
    """

    def __init__(
        self,
        nc: Nats,
        consumers: Sequence[Consumer],
        policy: MailboxPolicy,
        *,
        handle: Handler,
        dead_letter: Callable[[Delivery, DeadLetter], Awaitable[None]],
        repair: Callable[[], Awaitable[None]],
    ) -> None:
        self.name = consumers[0].durable
        self.policy = policy
        self._nc = nc
        self._handle = handle
        self._dead_letter = dead_letter
        self._repairing = BackgroundRepair(self.name, repair)
        self._order = PullScheduler(len(consumers))
        self._held: dict[tuple[int, int], _Held] = {}
        """By `Delivery.identity`."""
        self._awake = asyncio.Event()
        self._pullers = [Puller(nc, consumer, self._receive, self._awake.set) for consumer in consumers]
        self._wanting = True
        """A slot that becomes free may be used at once."""
        self._held_back = True
        """At the last look the gate was closed, or not every slot might be used."""
        self._stopping = False
        self._reconnects: Reconnects | None = None
        self._pulling = CriticalLoop(f"pull {self.name}")
        self._keeping_alive = CriticalLoop(f"keep {self.name}")
        self._verdicts: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        """Messages held at this moment."""
        return len(self._held)

    @property
    def queued(self) -> int:
        """Messages in the consumers that nobody holds, as last heard."""
        return sum(puller.source.pending for puller in self._pullers)

    async def start(self, reconnects: Reconnects) -> None:
        for puller in self._pullers:
            await puller.open()
        self._reconnects = reconnects
        reconnects.add(self._on_reconnect)
        self._pulling.start(self._pull_loop())
        self._keeping_alive.start(self._keep_alive_loop())

    def wake(self) -> None:
        """Something may have been given back: look at the gate again, if it kept anything back."""
        if self._held_back:
            self._awake.set()

    async def drain(self, grace_s: float) -> None:
        """Pull no more; let what runs finish for `grace_s`; give the rest back to other workers."""
        self._stopping = True
        self._awake.set()
        if self._reconnects is not None:
            self._reconnects.remove(self._on_reconnect)
            self._reconnects = None
        await withdraw(self._nc, self._pullers)
        clock_s = asyncio.get_running_loop().time
        listen_until_s = clock_s() + _LATE_S
        tasks = [held.task for held in self._held.values() if held.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        for task in tasks:
            task.cancel()
        await asyncio.sleep(listen_until_s - clock_s())
        for puller in self._pullers:
            await puller.close()
        await asyncio.gather(*tasks, *self._verdicts, return_exceptions=True)
        await self._repairing.stop()
        await self._pulling.stop()
        await self._keeping_alive.stop()

    async def _on_reconnect(self) -> None:
        for puller in self._pullers:
            puller.forget()
        self._doubt()

    def _doubt(self) -> None:
        """What is held may have been given to somebody else as well."""
        for held in self._held.values():
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
        """Until the owner stops: whenever a request or a message is done with, look what to ask for next."""
        while not self._stopping:
            self._awake.clear()
            await self._mend()
            closed_s = self.policy.gate()
            self._wanting = self._held_back = closed_s > 0.0
            if closed_s > 0.0:
                await self._sleep(min(closed_s, _RECHECK_S))
                continue
            slots = min(self.policy.slots, self.policy.at_most())
            self._held_back = slots < self.policy.slots
            await self._ask(slots)
            await self._sleep(_RECHECK_S if self._held_back else _WATCH_S)

    async def _ask(self, slots: int) -> None:
        sources = [puller.source for puller in self._pullers]
        asks = self._order.asks(sources, slots, len(self._held))
        self._wanting = self._order.short
        for ask in asks:
            if not self._stopping:
                await self._pullers[ask.rank].ask(ask)

    async def _mend(self) -> None:
        """After a refusal wait a little, after a second of the same consumer have it provisioned."""
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
            self._doubt()
            self._repairing.begin()

    async def _sleep(self, timeout_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._awake.wait()

    async def _keep_alive_loop(self) -> None:
        clock_s = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(self.policy.ack_wait_s / 2)
            for held in tuple(self._held.values()):
                delivery = held.delivery
                # Too late: this process was stopped, or too busy.
                delivery.ack_overdue = delivery.may_be_redelivered(clock_s())
                try:
                    await self._nc.publish(delivery.ack_subject, _IN_PROGRESS)
                    delivery.ack_deadline_s = clock_s() + self.policy.ack_wait_s
                except Exception as error:
                    _log.warning("%s: cannot keep a message alive: %r", self.name, error)

    def _receive(self, delivery: Delivery) -> None:
        held = self._held.get(delivery.identity)
        if held is not None:
            held.delivery.ack_subject = delivery.ack_subject
            held.delivery.ack_overdue = True
            return
        if self._stopping:
            self._settle_soon(delivery, Retry())
            return
        if len(self._held) >= 2 * self.policy.slots + len(self._pullers):
            # An old pull was answered after all, on top of a new one.
            self._settle_soon(delivery, Retry(_REFUSED_WAIT_S))
            return
        delivery.ack_deadline_s = asyncio.get_running_loop().time() + self.policy.ack_wait_s
        held = _Held(delivery)
        self._held[delivery.identity] = held
        held.task = asyncio.create_task(self._run(delivery))

    async def _run(self, delivery: Delivery) -> None:
        set_trace(delivery.headers.get(TRACEPARENT))
        try:
            await self._settle(delivery, await self._verdict(delivery))
        finally:
            del self._held[delivery.identity]
            if self._wanting:
                self._awake.set()

    async def _verdict(self, delivery: Delivery) -> Verdict:
        try:
            return await self._judge(delivery)
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            return Retry()
        except Exception:
            _log.exception("%s: a handler failed on delivery %d", self.name, delivery.number)
            return Retry(min(2.0 ** (delivery.number - 1), _LONGEST_RETRY_S))

    async def _judge(self, delivery: Delivery) -> Verdict:
        if delivery.number > self.policy.max_deliver:
            return DeadLetter("undeliverable", f"delivered {delivery.number - 1} times without an end")
        return await self._handle(delivery)

    def _settle_soon(self, delivery: Delivery, verdict: Verdict) -> None:
        task = asyncio.create_task(self._settle(delivery, verdict))
        self._verdicts.add(task)
        task.add_done_callback(self._verdicts.discard)

    async def _settle(self, delivery: Delivery, verdict: Verdict) -> None:
        """Tell the server. When that fails the message comes again, and idempotence answers for it."""
        try:
            match verdict:
                case Ack():
                    await self._nc.publish(delivery.ack_subject, _ACK)
                case NoVerdict():
                    pass
                case Retry(delay_s, to_other_process):
                    if to_other_process:
                        await self._withdraw_requests()
                    await self._nc.publish(delivery.ack_subject, _nak(delay_s))
                case DeadLetter():
                    await self._dead_letter(delivery, verdict)
                    await self._nc.publish(delivery.ack_subject, _TERM)
        except Exception:
            _log.exception("%s: a verdict could not be delivered; the message will come again", self.name)

    async def _withdraw_requests(self) -> None:
        """The server handles what one connection sends in order, so a message given back next goes to another one."""
        for puller in self._pullers:
            await puller.withdraw_request()
        self._awake.set()


def _nak(delay_s: float) -> bytes:
    return b'-NAK {"delay": %d}' % int(delay_s * 1e9) if delay_s > 0 else b"-NAK"
