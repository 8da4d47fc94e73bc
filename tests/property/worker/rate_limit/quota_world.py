"""Shared quotas on one record, without servers: the real renewers, each on a loop and a monotonic clock of its own.

Between them and the record stands a network that loses, delays, repeats and disorders what it is told to.
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
from services.worker.rate_limit.record.allocation import Report
from services.worker.rate_limit.record.lease_settings import LeaseSettings
from services.worker.rate_limit.shared.replica import Member
from services.worker.rate_limit.shared.shared_quota import SharedQuota
from services.worker.rate_limit.shared.store_protocol import Conflict, Stored, Unreachable

__all__ = ["KEY", "Fate", "Process", "QuotaWorld"]

KEY = QuotaKey("key", "m")
LEASE_SETTINGS = LeaseSettings(margin_ms=0)
"""No margin: what is promised has to hold without one, where a call reaches the provider at once."""
TIMEOUT_S = 1.0
CUT_OFF_S = 1.5
"""One worker alone is cut off for no longer than this and its timeouts: less than a lease lasts."""
MOST_PER_S = 30
"""Of requests to the server, by one renewer: ten writes, each of which may conflict, be read for and sent again."""
_TICK_S = 1e-6


class Fate(Struct, frozen=True):
    """What becomes of one request to the server."""

    lands: str = "now"
    """`now`, `late` (after the answer is given up, when somebody says so) or `never`."""
    answered: bool = True
    """Else the waiter gives up after its timeout."""
    slow_s: float = 0.0
    """Between what is done and its answer."""
    back: int = 0
    """Of a read: the entry so many writes ago, as a node that lags would answer."""


GOOD = Fate()


class Spent(Struct):
    """A request that was let through, or what one used beyond its estimate."""

    at_s: float
    tokens: int
    requests: int = 1
    untold_by: str = ""
    """Who alone knows of it: no lease was taken for it, and others spend what they had leased before they hear."""


class _Loop(asyncio.SelectorEventLoop):
    """Time passes when the world says so; nothing here waits for anything else."""

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
    """A worker, as far as its quota goes."""

    def __init__(self, world: QuotaWorld, name: str, limits: Limits, skew_s: float) -> None:
        self.world, self.name = world, name
        self.loop = _Loop(world, skew_s)
        self.fates: deque[Fate] = deque()
        self.unheard: list[Stored] = []
        """Watched entries on their way."""
        self.is_deaf = self.is_frozen = False
        self.failing_since_s: float | None = None
        """The first of its requests that were not answered, since the last that was."""
        self.answer_due_s = 0.0
        """When its last request to the server is answered, or given up."""
        self.rounds = 0
        """Of its renewer: each plans a write, needed or not."""
        self.asked_s: deque[float] = deque()
        """When it asked something of the server, within the last second."""
        self.permits: dict[int, Permit] = {}
        """Of the calls under way, by their place in the world's log."""
        self.waiting: dict[int, int] = {}
        """Who stands in line, and the tokens it needs."""
        self.written = 0
        """The revision of its last write that landed."""
        member = Member(name, random.Random(name).random, self.wake)
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
        """Those who wait should ask again."""
        for waiter in tuple(self.waiting):
            self.try_for(waiter)

    def try_for(self, waiter: int) -> None:
        tokens = self.waiting[waiter]
        permit = self.quota.try_acquire(KEY, Need(tokens, waiter=waiter), self.now_s)
        if isinstance(permit, Permit):
            del self.waiting[waiter]
            self.permits[self.world.let_through(self, tokens)] = permit

    def withdraw(self, waiter: int) -> None:
        del self.waiting[waiter]
        self.quota.withdraw(waiter)

    def waiting_no_more(self) -> None:
        while self.waiting:
            self.withdraw(next(iter(self.waiting)))

    def settle(self, place: int, true_tokens: int) -> None:
        spent = self.world.log[place]
        above = true_tokens - spent.tokens
        if above > 0:
            self.world.log.append(Spent(self.world.now_s, above, requests=0, untold_by=self.name))
        else:
            spent.tokens = true_tokens
        self.quota.settle(self.permits.pop(place), true_tokens, self.now_s)

    def hear(self, stored: Stored) -> None:
        self.loop.call_soon(self.quota.observe, "record", stored)

    def end(self) -> None:
        """Killed: nothing of it is done any more, and what it leaves behind is put away."""
        self.fates = deque([Fate(lands="never", answered=False)] * 1000)
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        for _ in range(10):
            self.loop._run_ready()
        self.loop.close()

    def _count_rounds(self) -> None:
        report = self.renewer.lease.report

        def counted(*args: Any, **options: Any) -> Report:
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
        self.asked_s.append(now_s)
        while self.asked_s[0] <= now_s - 1.0:
            self.asked_s.popleft()
        if len(self.asked_s) > MOST_PER_S:
            self.world.broken.append(f"{now_s:.2f}: {self.name} asked {len(self.asked_s)} times in a second")
        if self.world.is_dark:
            return Fate(lands="late", answered=False)
        since_s = self.failing_since_s
        if since_s is not None and self.world.now_s > since_s + CUT_OFF_S:
            self.fates.clear()  # an outage of some workers and not of others is another matter (decision 0010)
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
        """Of the server's clock, which may step."""
        self.is_dark = False
        self.revision = 0
        self.history: list[Stored] = []
        """Of the entry, since it was last begun anew."""
        self.flying: list[tuple[Process, bytes, int]] = []
        """Writes that were given up, and may land."""
        self.processes: list[Process] = []
        self.names = self.waiters = 0
        self.log: list[Spent] = []
        self.broken: list[str] = []
        """Promises; it is said here, since whoever is called by a renewer must not raise."""
        self._settling = False

    # -- the truth

    def let_through(self, process: Process, tokens: int) -> int:
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
        """Requests and tokens."""
        within = [each for each in self.log if each.at_s + span_s > self.now_s and not each.untold_by]
        return sum(each.requests for each in within), sum(each.tokens for each in within)

    def all_is_told(self) -> None:
        """What was used beyond the estimates stands in the record, but for what nobody lives to tell."""
        living = {process.name for process in self.processes}
        for each in self.log:
            if each.untold_by in living:
                each.untold_by = ""

    # -- the record

    @property
    def entry(self) -> Stored | None:
        return self.history[-1] if self.history else None

    def entry_before(self, back: int) -> Stored | None:
        return self.history[max(0, len(self.history) - 1 - back)] if self.history else None

    def store(self, writer: Process, data: bytes, revision: int) -> int | None:
        """The new revision; None: somebody else wrote since `revision`."""
        entry = self.entry
        if revision != (0 if entry is None else entry.revision):
            return None
        self.revision += 1
        stored = Stored(data, self.revision, self.now_s + self.wall_ahead_s)
        self.history.append(stored)
        writer.written = self.revision
        for process in self.processes:
            if process.is_deaf:
                process.unheard.append(stored)
            else:
                process.hear(stored)
        return self.revision

    def lose(self, how: str) -> None:
        """`marked`: deleted, and says so; `purged`: gone, its revisions go on; `anew`: the bucket with it."""
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
        """Whatever can be done at this instant is done."""
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
    def somebody_is_disturbed(self) -> bool:
        return any(
            process.fates or process.is_deaf or process.is_frozen or process.failing_since_s is not None
            for process in self.processes
        )

    def nobody_is_disturbed(self) -> None:
        """And nobody waits: whatever was on its way is observe."""
        for process in self.processes:
            process.fates.clear()
            for stored in process.unheard:
                process.hear(stored)
            process.unheard.clear()
            process.waiting_no_more()
            process.is_deaf = process.is_frozen = False

    def squeeze(self, tokens: int = 0) -> None:
        """Everybody takes what it can get."""
        for _ in range(2):
            for process in self.running:
                for _ in range(9):
                    process.ask(tokens)
            self.advance(0.5)

    def lend(self, process: Process) -> None:
        """It has leased more than it has spent."""
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
        """Stopped as an operator would, given three seconds."""
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
