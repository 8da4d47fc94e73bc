"""Shared quotas on one record, without servers: real renewers, each with a loop and a monotonic clock of its own.

A simulated network between them and the record loses, delays, repeats and reorders messages on demand.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from msgspec import Struct

from penstock.runtime.config.catalogue import Batch, Limits
from services.worker.rate_limit.quota import Need, Permit, QuotaKey
from services.worker.rate_limit.record.allocation import LeaseReport
from services.worker.rate_limit.record.lease_settings import LeaseSettings
from services.worker.rate_limit.shared.replica import Member
from services.worker.rate_limit.shared.shared_quota import SharedQuota
from services.worker.rate_limit.shared.store_protocol import Conflict, Stored, Unreachable

__all__ = ["KEY", "Fate", "Process", "QuotaWorld"]

KEY = QuotaKey("key", "m")
LEASE_SETTINGS = LeaseSettings(margin_ms=0)
"""Without a margin: the limit must be kept exactly where a call reaches the provider at once."""
TIMEOUT_S = 1.0
MOST_PER_S = 30
"""Most requests of one renewer in a second: ten writes, each with a conflict, a read and a retry."""
_TICK_S = 1e-6


class Fate(Struct, frozen=True):
    """The outcome of one request to the server."""

    lands: str = "now"
    """`now`, `late` (after the answer was given up, on demand) or `never`."""
    answered: bool = True
    """False: the caller gives up after its timeout."""
    slow_s: float = 0.0
    """Seconds between the effect and its answer."""
    back: int = 0
    """A read returns the entry so many writes ago, as a lagging node would."""


GOOD = Fate()


class Spent(Struct):
    """An admitted request, or tokens used beyond an estimate."""

    at_s: float
    tokens: int
    requests: int = 1
    known_only_by: str = ""
    """The only worker that knows of it: it has no lease, and other workers spend theirs before they know."""


class _Loop(asyncio.SelectorEventLoop):
    """A loop whose time the world advances; it never waits."""

    def __init__(self, world: QuotaWorld, skew_s: float) -> None:
        super().__init__()
        self.world = world
        self.skew_s = skew_s

    def time(self) -> float:
        return self.world.now_s + self.skew_s

    def next_s(self) -> float | None:
        """When its next timer is due, in the world's time."""
        while self._scheduled and self._scheduled[0].cancelled():
            self._run_ready()
            if self._scheduled and self._scheduled[0].cancelled():
                return self._scheduled[0].when() - self.skew_s
        return self._scheduled[0].when() - self.skew_s if self._scheduled else None

    @property
    def is_idle(self) -> bool:
        due = self._scheduled and self._scheduled[0].when() <= self.time()
        return not self._ready and not due

    def settle(self) -> None:
        while not self.is_idle:
            self._run_ready()

    def _run_ready(self) -> None:
        self.call_soon(self.stop)
        self.run_forever()


class Process:
    """The quota of one worker."""

    def __init__(self, world: QuotaWorld, name: str, limits: Limits, skew_s: float) -> None:
        self.world, self.name = world, name
        self.loop = _Loop(world, skew_s)
        self.fates: deque[Fate] = deque()
        self.delayed: list[Stored] = []
        """Republished entries that are delayed."""
        self.is_delayed = self.is_frozen = False
        self.failing_since_s: float | None = None
        """When the first unanswered request began, since the last answered one."""
        self.answer_due_s = 0.0
        """When its last request is answered or given up."""
        self.rounds = 0
        """Rounds of its renewer, with or without a write."""
        self.request_times_s: deque[float] = deque()
        """When its requests of the last second began."""
        self.permits: dict[int, Permit] = {}
        """Permits of the calls in flight, by their index in the log."""
        self.waiting: dict[int, int] = {}
        """Tokens of each waiting request."""
        self.written = 0
        """Revision of its last stored write."""
        member = Member(name, random.Random(name).random, lambda: 0.0, self.wake)
        self.quota = SharedQuota(
            {KEY: limits}, {KEY: "record"}, member, self, batch=Batch(), settings=LEASE_SETTINGS
        )
        self.renewer = self.quota._by_record["record"]
        self._count_rounds()
        self.run(self.quota.start())

    @property
    def now_s(self) -> float:
        return self.loop.time()

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self.loop.create_task(work)
        self.world.settle()
        return task

    def run_now(self, done: Callable[[], None]) -> None:
        self.loop.call_soon(done)
        self.world.settle()

    def ask(self, tokens: int) -> None:
        self.world.waiters += 1
        self.waiting[self.world.waiters] = tokens
        self.try_for(self.world.waiters)

    def wake(self) -> None:
        """Waiting requests ask again."""
        for waiter in tuple(self.waiting):
            self.try_for(waiter)

    def try_for(self, waiter: int) -> None:
        tokens = self.waiting[waiter]
        permit = self.quota.try_acquire(KEY, Need(tokens, waiter=waiter), self.now_s)
        if isinstance(permit, Permit):
            del self.waiting[waiter]
            self.permits[self.world.admit(self, tokens)] = permit

    def withdraw(self, waiter: int) -> None:
        del self.waiting[waiter]
        self.quota.withdraw(waiter)

    def withdraw_all(self) -> None:
        while self.waiting:
            self.withdraw(next(iter(self.waiting)))

    def settle(self, place: int, true_tokens: int) -> None:
        spent = self.world.log[place]
        above = true_tokens - spent.tokens
        if above > 0:
            self.world.log.append(Spent(self.world.now_s, above, requests=0, known_only_by=self.name))
        else:
            spent.tokens = true_tokens
        self.quota.settle(self.permits.pop(place), true_tokens, self.now_s)

    def deliver(self, stored: Stored) -> None:
        self.loop.call_soon(self.quota.observe, "record", stored)

    def end(self) -> None:
        """Kill the process, and clean up after it."""
        self.fates = deque([Fate(lands="never", answered=False)] * 1000)
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        for _ in range(10):
            self.loop._run_ready()
        self.loop.close()

    def _count_rounds(self) -> None:
        report = self.renewer.lease.report

        def counted(*args: Any, **options: Any) -> LeaseReport:
            self.rounds += 1
            return report(*args, **options)

        self.renewer.lease.report = counted

    # -- `RecordStore`

    async def read(self, key: str) -> Stored | None:  # noqa: ARG002 - there is one record
        fate = self._fate()
        found = self.world.entry_before(fate.back)
        await self._answer(fate)
        return found

    async def write(self, key: str, data: bytes, revision: int) -> int:
        fate = self._fate()
        if fate.lands == "late":
            self.world.flying.append((self, data, revision))
        landed: int | None = None
        if fate.lands == "now":
            landed = self.world.store(self, data, revision)
        await self._answer(fate)
        if landed is None:
            raise Conflict(key)
        return landed

    def _fate(self) -> Fate:
        now_s = self.world.now_s
        self.request_times_s.append(now_s)
        while self.request_times_s[0] <= now_s - 1.0:
            self.request_times_s.popleft()
        if len(self.request_times_s) > MOST_PER_S:
            self.world.broken.append(
                f"{now_s:.2f}: {self.name} asked {len(self.request_times_s)} times in a second"
            )
        if self.world.is_down:
            return Fate(lands="late", answered=False)
        return self.fates.popleft() if self.fates else GOOD

    async def _answer(self, fate: Fate) -> None:
        lost = not fate.answered or fate.lands != "now"
        self.answer_due_s = self.world.now_s + (TIMEOUT_S if lost else fate.slow_s)
        if lost:
            if self.failing_since_s is None:
                self.failing_since_s = self.world.now_s
            await asyncio.sleep(TIMEOUT_S)
            raise Unreachable("no answer")
        if fate.slow_s:
            await asyncio.sleep(fate.slow_s)
        self.failing_since_s = None


class QuotaWorld:
    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.now_s = 1000.0
        self.wall_ahead_s = 0.0
        """Offset of the server's clock, which may step."""
        self.is_down = False
        self.revision = 0
        self.history: list[Stored] = []
        """Versions of the entry since it was last created."""
        self.flying: list[tuple[Process, bytes, int]] = []
        """Writes that were given up and may still be stored."""
        self.processes: list[Process] = []
        self.names = self.waiters = 0
        self.log: list[Spent] = []
        self.broken: list[str] = []
        """Broken promises; collected, because callbacks of a renewer must not raise."""
        self._settling = False

    # -- the true log

    def admit(self, process: Process, tokens: int) -> int:
        self.log.append(Spent(self.now_s, tokens))
        minute, day = self.spent(60.0), self.spent(86_400.0)
        limits = self.limits
        for what, more, used, most in (
            ("requests a minute", 1, minute[0], limits.requests_per_minute),
            ("tokens a minute", tokens, minute[1], limits.tokens_per_minute),
            ("requests a day", 1, day[0], limits.requests_per_day),
            ("tokens a day", tokens, day[1], limits.tokens_per_day),
        ):
            if most is not None and used > most and more:
                self.broken.append(f"{self.now_s:.2f}: {process.name} let through {used} {what} of {most}")
        return len(self.log) - 1

    def spent(self, span_s: float) -> tuple[int, int]:
        """Requests and tokens admitted within the span."""
        within = [each for each in self.log if each.at_s + span_s > self.now_s and not each.known_only_by]
        return sum(each.requests for each in within), sum(each.tokens for each in within)

    def all_is_reported(self) -> None:
        """Everything used beyond the estimates is in the record, except what only dead workers knew."""
        living = {process.name for process in self.processes}
        for each in self.log:
            if each.known_only_by in living:
                each.known_only_by = ""

    # -- the record

    @property
    def entry(self) -> Stored | None:
        return self.history[-1] if self.history else None

    def entry_before(self, back: int) -> Stored | None:
        return self.history[max(0, len(self.history) - 1 - back)] if self.history else None

    def store(self, writer: Process, data: bytes, revision: int) -> int | None:
        """The new revision; None: another worker wrote since `revision`."""
        entry = self.entry
        if revision != (0 if entry is None else entry.revision):
            return None
        self.revision += 1
        stored = Stored(data, self.revision, self.now_s + self.wall_ahead_s)
        self.history.append(stored)
        writer.written = self.revision
        for process in self.processes:
            if process.is_delayed:
                process.delayed.append(stored)
            else:
                process.deliver(stored)
        return self.revision

    def lose(self, how: str) -> None:
        """`marked`: deleted with a marker; `purged`: removed, revisions go on; `anew`: removed with its bucket."""
        if how == "marked":
            self.revision += 1
            self.history = [Stored(b"", self.revision, self.now_s + self.wall_ahead_s)]
            return
        self.history = []
        if how == "anew":
            self.revision = 0
            self.flying.clear()

    # -- time

    @property
    def running(self) -> list[Process]:
        return [process for process in self.processes if not process.is_frozen]

    def advance(self, seconds: float) -> None:
        until_s = self.now_s + seconds
        self.settle()
        while True:
            nexts = [at_s for process in self.running if (at_s := process.loop.next_s()) is not None]
            at_s = min(nexts, default=until_s) + _TICK_S
            if at_s > until_s:
                break
            self.now_s = max(self.now_s, at_s)
            self.settle()
        self.now_s = until_s
        self.settle()

    def settle(self) -> None:
        """Run all loops until they are idle at this instant."""
        if self._settling:
            return
        self._settling = True
        while any(not process.loop.is_idle for process in self.running):
            for process in self.running:
                process.loop.settle()
        self._settling = False

    # -- processes

    @property
    def is_unreachable_for_some(self) -> bool:
        return any(process.renewer.is_unreachable for process in self.processes)

    @property
    def is_disturbed(self) -> bool:
        return any(
            process.fates or process.is_delayed or process.is_frozen or process.failing_since_s is not None
            for process in self.processes
        )

    def end_disturbances(self) -> None:
        """End all disturbances: delayed entries arrive, and no request waits."""
        for process in self.processes:
            process.fates.clear()
            for stored in process.delayed:
                process.deliver(stored)
            process.delayed.clear()
            process.withdraw_all()
            process.is_delayed = process.is_frozen = False

    def squeeze(self, tokens: int = 0) -> None:
        """Let every process acquire as many permits as possible."""
        for _ in range(2):
            for process in self.running:
                for _ in range(9):
                    process.ask(tokens)
            self.advance(0.5)

    def lend(self, process: Process) -> None:
        """Give the process a lease above what it has spent."""
        for _ in range(2):
            process.ask(0)
        self.advance(0.15)

    def join(self, skew_s: float) -> Process:
        self.names += 1
        process = Process(self, f"w{self.names}", self.limits, skew_s)
        self.processes.append(process)
        self.settle()
        return process

    def land(self, flight: tuple[Process, bytes, int]) -> int | None:
        self.flying.remove(flight)
        return self.store(*flight)

    def crash(self, process: Process) -> None:
        self.processes.remove(process)
        process.end()

    def leave(self, process: Process) -> None:
        """Stop the process in an orderly way, within three seconds."""
        task = process.run(process.quota.stop())
        for _ in range(6):
            if not task.done():
                self.advance(0.5)
        with contextlib.suppress(ValueError):
            self.processes.remove(process)
        process.end()

    def close(self) -> None:
        for process in tuple(self.processes):
            self.crash(process)
