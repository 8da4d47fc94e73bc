"""The one writer of a partition: takes everything that waits, decides it in order, stores it once, then answers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct

from penstock.bus.clock import Clock, ServerTime
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.ledger.holds import HoldBatchAnswer
from penstock.contract.subjects import SYSTEM_PARTITION
from services.ledger.budget.policies import Policies
from services.ledger.metrics import LedgerMetrics
from services.ledger.partitions.answers import Answers
from services.ledger.partitions.asked import AskedHold, problem_of, refused
from services.ledger.partitions.group_decider import AskedBatch, Group, GroupDecider, Verdicts
from services.ledger.partitions.journal import Journal, NotStored
from services.ledger.partitions.partition_state import PartitionState
from services.ledger.partitions.partition_time import PartitionTime
from services.ledger.partitions.system_limits import SystemLimits, unavailable
from services.ledger.partitions.usage_feed import UsageFeed

__all__ = ["TICK_S", "OutOfContact", "Times", "Writer", "WriterLinks"]

_log: Final = rate_limited_logger(__name__)
TICK_S: Final = 0.25
"""Seconds between two looks for holds to expire, and for waiting ones that fit in a new period or a changed policy."""
_MOST_ASKED: Final = 256
"""Questions decided in one group."""
_MOST_EVENTS: Final = 500
_GATHER_S: Final = 0.005
"""Seconds for which usage waits for a hold to be stored with, unless another hold waits for what it may release."""
_MOST_QUEUED: Final = 10_000
"""Questions that wait for the writer; more are refused at once."""
_LATE_S: Final = 5.0
"""Seconds after which a question is not answered any more: it was asked again, or given up."""


class OutOfContact(Exception):
    """This process was frozen or cut off: others may own the partition, and it must not answer."""


class Times(Struct, frozen=True):
    """The clocks of a writer."""

    clock: Clock
    server: ServerTime
    in_contact: Callable[[], bool]
    """Whether this process hears the other ledger processes (`Members.in_contact`)."""


class WriterLinks(Struct, frozen=True):
    """What a writer reads from and writes to."""

    journal: Journal
    feed: UsageFeed
    system: SystemLimits
    answers: Answers


class Writer:
    def __init__(
        self,
        state: PartitionState,
        policies: Policies,
        links: WriterLinks,
        times: Times,
        metrics: LedgerMetrics,
        on_round: Callable[[], None],
    ) -> None:
        """`on_round`: called after each group, when the journal has everything that was decided."""
        self._state = state
        self._decider = GroupDecider(state.budget, policies)
        self._links = links
        self._times = times
        self._time = PartitionTime(times.server, state.budget.last_ms)
        self._metrics = metrics
        self._on_round = on_round
        self._is_system = state.partition == SYSTEM_PARTITION
        self._queue: deque[AskedHold | AskedBatch] = deque()
        self._current: Group | None = None
        """The group that is being decided or stored."""
        self._taken: list[AskedHold] = []
        """Its holds, until they are decided."""
        self._wake = asyncio.Event()
        self._booking: asyncio.TimerHandle | None = None
        self._ticked = False
        self._released = False
        self._failure: Exception | None = None
        self._closed: str | None = None

    async def offer(self, asked: AskedHold | AskedBatch) -> None:
        """Take a question; it is answered in the next group."""
        if self._closed is not None:
            await self._refuse(asked, f"the ledger cannot store holds now ({self._closed})")
            return
        if len(self._queue) >= _MOST_QUEUED:
            await self._refuse(asked, "the ledger has too many requests: try again")
            return
        self._queue.append(asked)
        self._wake.set()

    def wake(self) -> None:
        """Usage events were read: they are booked with the next hold, or shortly."""
        if self._decider.waiting or self._is_system:
            self._wake.set()
        elif self._booking is None:
            self._booking = asyncio.get_running_loop().call_later(_GATHER_S, self._wake.set)

    def close(self, reason: str | None) -> None:
        """Refuse every question from now on; None: take them again."""
        self._closed = reason

    def tick(self) -> None:
        """Look at what changes with time."""
        self._ticked = True
        self._wake.set()

    def release(self) -> None:
        """Answer what is there, then end `serve`."""
        self._released = True
        self._wake.set()

    def fail(self, error: Exception) -> None:
        """Make `serve` raise this error: the state must be loaded again."""
        self._failure = error
        self._wake.set()

    async def serve(self) -> None:
        """Decide and store groups until released.

        Raises Fenced, NotStored and OutOfContact, and the error of `fail`; the state may then be ahead of the journal
        and must be dropped.
        """
        while not self._released or (self._queue and self._may_decide):
            await self._wake.wait()
            self._wake.clear()
            if self._failure is not None:
                raise self._failure
            if not self._times.in_contact():
                raise OutOfContact
            await self._round()

    async def refuse_all(self, reason: str) -> None:
        """Refuse every question: nothing can be stored."""
        for asked in self.take_unanswered():
            await self._refuse(asked, f"the ledger cannot store holds now ({reason})")

    def take_unanswered(self) -> Iterator[AskedHold | AskedBatch]:
        """Remove and return every question that has no answer."""
        group, self._current = self._current, None
        if group is not None:
            yield from (asked for asked, _ in group.answers)
            yield from (asked for asked, _ in group.batches)
        taken, self._taken = self._taken, []
        yield from taken
        yield from (waiter.asked for waiter in self._decider.waiting.take_all())
        while self._queue:
            yield self._queue.popleft()

    async def _round(self) -> None:
        ticked, self._ticked = self._ticked, False
        if self._is_system:
            self._links.feed.read_at_once(wanted=self._links.system.applies)
        decider, now_s = self._decider, self._times.clock.monotonic_s()
        group = self._current = Group(max(self._time.now_ms(), decider.last_ms))
        if self._booking is not None:
            self._booking.cancel()
            self._booking = None
        events = self._links.feed.take(_MOST_EVENTS)
        for event in events:
            decider.settle(group, event)
        decider.expire(group, self._links.feed.complete_ms)
        asked = self._taken = self._take_asked(group, now_s)
        due = decider.due_accounts(group, all_of_them=ticked)
        verdicts = await self._ask_system(group, due, asked)
        decider.admit_waiting(group, due, verdicts)
        for each in asked:
            decider.hold(group, each, verdicts, now_s)
        self._taken = []
        self._queue.extendleft(reversed(group.deferred))
        decider.end_waits(group, now_s)
        await self._store(group, events[-1].sequence if events else 0)
        await self._answer(group)
        self._links.system.release(decider.unused(verdicts or {}))
        if (self._queue and self._may_decide) or self._links.feed or decider.is_due:
            self._wake.set()
        self._on_round()
        self._links.feed.urgent = bool(decider.waiting)
        self._metrics.waiting.labels(self._state.partition).set(len(decider.waiting))

    @property
    def _may_decide(self) -> bool:
        """False: the limits of the system are new, and usage from before them is still being booked."""
        return not self._is_system or not self._links.system.applies or self._links.feed.is_complete

    def _take_asked(self, group: Group, now_s: float) -> list[AskedHold]:
        """The holds of this group; invalid ones and batches are answered here."""
        asked: list[AskedHold] = []
        if not self._may_decide:
            return asked
        for _ in range(min(_MOST_ASKED, len(self._queue))):
            each = self._queue.popleft()
            if now_s - each.question.received_s > _LATE_S:
                if isinstance(each, AskedHold):
                    each.span.end(error="late")
            elif isinstance(each, AskedBatch):
                self._decider.batch(group, each)
            else:
                problem = problem_of(each.request, group.now_ms, self._state.partition)
                if problem is None:
                    asked.append(each)
                else:
                    group.answers.append((each, refused(each.request.id, problem)))
        return asked

    async def _ask_system(self, group: Group, due: list[str], asked: list[AskedHold]) -> Verdicts | None:
        """The answers of the system's partition for what the own limits allow; None: it has no limits."""
        system = self._links.system
        if self._is_system or not (system.applies or system.has_releases):
            return None
        candidates = self._decider.candidates(group, due, asked) if due or asked else []
        if not candidates and not system.has_releases:
            return {} if system.applies else None
        verdicts = await system.ask(candidates)
        return verdicts if system.applies else None

    async def _store(self, group: Group, usage_sequence: int) -> None:
        state = self._state
        if not group.entries:
            state.usage_sequence = usage_sequence or state.usage_sequence
            return
        batch = state.next_batch(group.entries, usage_sequence)
        try:
            sequence = await self._links.journal.append(batch, state.journal_sequence)
        except NotStored:
            self._metrics.not_stored.inc()
            raise
        state.include(batch.entries, batch.usage_sequence, sequence)
        self._metrics.group_size.observe(len(batch.entries))

    async def _answer(self, group: Group) -> None:
        self._current = None
        for asked, answer in group.answers:
            await self._links.answers.send(asked, answer)
        for batch, answers in group.batches:
            await self._links.answers.send_batch(batch.question, answers)
        if not self._is_system:  # the partitions of the accounts have booked the same usage
            self._links.answers.booked(group)

    async def _refuse(self, asked: AskedHold | AskedBatch, message: str) -> None:
        if isinstance(asked, AskedHold):
            await self._links.answers.send(asked, unavailable(asked.request.id, message))
        else:
            answers = tuple(unavailable(each.id, message) for each in asked.batch.holds)
            await self._links.answers.send_batch(asked.question, HoldBatchAnswer(answers=answers))
