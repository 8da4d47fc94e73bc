"""Workers that learn a provider's limit from its refusals, in simulated time: real quotas on one record in memory.

A worker treats its quota as `chain_executor.py` does: a 429 is reported and pauses the model; the request waits again.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections import deque
from collections.abc import Callable
from math import ceil
from typing import Any

from msgspec import Struct

from penstock.bus.clock import loop_now_s
from penstock.runtime.config.catalogue import Batch, Limits
from services.worker.rate_limit.pause import PauseLengths
from services.worker.rate_limit.quota import LocalQuota, Need, Permit, Quota, QuotaKey
from services.worker.rate_limit.shared.replica import Member
from services.worker.rate_limit.shared.shared_quota import SharedQuota
from services.worker.rate_limit.shared.store_protocol import Conflict, Stored

__all__ = ["KEY", "Bucket", "FixedWindow", "Outcome", "Provider", "Unsteady", "run"]

KEY = QuotaKey("key", "m")
_NEED = Need(100)
_NOT_NAMED = Limits()
_TICK_S = 0.005
"""Resolution of the wait queue in seconds, as in the worker."""
_LEASE_S = 0.25
"""Seconds after which a request without a lease asks again."""


class Provider:
    """Counts calls; `admit` returns whether a call is admitted, and the `Retry-After` of a refusal."""

    def __init__(self) -> None:
        self.calls = self.refused = 0
        self.answered_s: list[float] = []
        self.refused_s: list[float] = []

    def call(self, now_s: float) -> tuple[bool, float | None]:
        self.calls += 1
        admitted, retry_after_s = self.admit(now_s)
        if admitted:
            self.answered_s.append(now_s)
        else:
            self.refused += 1
            self.refused_s.append(now_s)
        return admitted, retry_after_s

    def admit(self, now_s: float) -> tuple[bool, float | None]:
        raise NotImplementedError


class Bucket(Provider):
    """A token bucket."""

    def __init__(
        self,
        per_minute: float,
        capacity: float,
        retry_after: Callable[[float], float | None] = lambda wait_s: wait_s,
    ) -> None:
        super().__init__()
        self.per_s, self.capacity, self.retry_after = per_minute / 60, capacity, retry_after
        self.tokens, self.at_s = capacity, 0.0

    def admit(self, now_s: float) -> tuple[bool, float | None]:
        self.tokens = min(self.capacity, self.tokens + (now_s - self.at_s) * self.per_s)
        self.at_s = now_s
        if self.tokens >= 1:
            self.tokens -= 1
            return True, None
        return False, self.retry_after((1 - self.tokens) / self.per_s)


class FixedWindow(Provider):
    """A fixed number of calls in every minute."""

    def __init__(self, per_minute: int, *, retry_after: bool) -> None:
        super().__init__()
        self.per_minute, self.retry_after = per_minute, retry_after
        self.minute, self.used = -1, 0

    def admit(self, now_s: float) -> tuple[bool, float | None]:
        if int(now_s // 60) != self.minute:
            self.minute, self.used = int(now_s // 60), 0
        if self.used < self.per_minute:
            self.used += 1
            return True, None
        return False, 60 - now_s % 60 if self.retry_after else None


class Unsteady(Provider):
    """Refuses a share of all calls, whatever their rate."""

    def __init__(self, share: float, retry_after: Callable[[random.Random], float | None], seed: int) -> None:
        super().__init__()
        self.share, self.retry_after, self.dice = share, retry_after, random.Random(seed)

    def admit(self, now_s: float) -> tuple[bool, float | None]:  # noqa: ARG002 - independent of the time
        return (False, self.retry_after(self.dice)) if self.dice.random() < self.share else (True, None)


class Outcome(Struct, frozen=True):
    took_s: float
    writes: int
    learned: Any
    """The learned limit of each worker at the end."""


class _Records:
    """One record in memory, and announced pauses; every worker observes both a moment later."""

    def __init__(self) -> None:
        self.entry: Stored | None = None
        self.writes = 0
        self.quotas: list[SharedQuota] = []

    async def read(self, key: str) -> Stored | None:  # noqa: ARG002 - there is one record
        await asyncio.sleep(0.001)
        return self.entry

    async def write(self, key: str, data: bytes, revision: int) -> int:
        await asyncio.sleep(0.001)
        if revision != (0 if self.entry is None else self.entry.revision):
            raise Conflict(key)
        self.writes += 1
        now_s = asyncio.get_running_loop().time()
        stored = self.entry = Stored(data, revision + 1, now_s)
        for quota in self.quotas:
            asyncio.get_running_loop().call_later(0.001, quota.observe, key, stored)
        return stored.revision

    def announce_pause(self, by: Quota, until_s: float) -> None:
        for quota in self.quotas:
            if quota is not by:
                asyncio.get_running_loop().call_later(0.002, quota.apply_pause, KEY, until_s)


class _Waiters(list[asyncio.Future[None]]):
    """Requests that wait for quota."""

    def wake(self) -> None:
        for waiter in self:
            _end(waiter)
        self.clear()


class _Worker:
    """A worker with `slots` requests in flight."""

    def __init__(
        self,
        quota: Quota,
        provider: Provider,
        work: deque[int],
        slots: int,
        *,
        dice: random.Random,
        waiters: _Waiters,
        records: _Records,
    ) -> None:
        self.quota, self.provider, self.work, self.dice = quota, provider, work, dice
        self.pauses = PauseLengths()
        self.waiters = waiters
        self.records = records
        self.numbers = 0
        self.slots = slots

    async def run(self, until: asyncio.Future[None]) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self.slots):
                group.create_task(self._slot(until))

    async def _slot(self, until: asyncio.Future[None]) -> None:
        while not until.done():
            if not self.work:
                await asyncio.sleep(0.05)
                continue
            self.work.popleft()
            self.numbers += 1
            await self._serve(self.numbers)

    async def _serve(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        need = Need(_NEED.tokens, waiter=number)
        while True:
            permit = self.quota.try_acquire(KEY, need, loop.time())
            if not isinstance(permit, Permit):
                waiter = loop.create_future()
                self.waiters.append(waiter)
                now_s = loop.time()
                wait_s = _LEASE_S if permit.leasing else self.quota.wait_s(KEY, need, now_s)
                timer = loop.call_at(ceil((now_s + wait_s) / _TICK_S + 1e-6) * _TICK_S, _end, waiter)
                await waiter
                timer.cancel()
                continue
            self.quota.withdraw(number)
            if await self._call(permit):
                return

    async def _call(self, permit: Permit) -> bool:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        await asyncio.sleep(self.dice.uniform(0.005, 0.02))
        admitted, retry_after_s = self.provider.call(loop.time())
        await asyncio.sleep(self.dice.uniform(0.2, 1.2) if admitted else 0.005)
        now_s = loop.time()
        if admitted:
            self.pauses.succeeded(KEY, began_s=began_s)
        else:
            self.quota.refused(KEY, retry_after_s, began_s, now_s)
            pause_s = self.pauses.pause_s(KEY, retry_after_s, began_s=began_s, now_s=now_s)
            if pause_s:
                self.quota.pause(KEY, now_s + pause_s, "429")
                self.records.announce_pause(self.quota, now_s + pause_s)
        self.quota.settle(permit, 100 if admitted else 0, loop.time())
        self.waiters.wake()
        return admitted


def _end(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class _Clock(selectors.BaseSelector):
    """A selector that does not wait; the clock advances instead."""

    def __init__(self, loop_time: list[float]) -> None:
        self._real, self._time = selectors.DefaultSelector(), loop_time

    def register(self, *args: Any) -> Any:
        return self._real.register(*args)

    def unregister(self, fileobj: Any) -> Any:
        return self._real.unregister(fileobj)

    def get_map(self) -> Any:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()

    def select(self, timeout: float | None = None) -> Any:
        if timeout:
            self._time[0] += timeout
        return self._real.select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.now_s = [1000.0]
        super().__init__(_Clock(self.now_s))

    def time(self) -> float:
        return self.now_s[0]


def run(
    provider: Provider,
    *,
    workers: int,
    requests: int,
    slots: int = 16,
    arrivals: Callable[[deque[int]], Any] | None = None,
    local: bool = False,
    limits: Limits = _NOT_NAMED,
    longest_s: float = 3600.0,
) -> Outcome:
    """Run until `requests` are answered. `arrivals` adds requests over time; without it, all exist at the start."""

    async def main() -> Outcome:
        loop = asyncio.get_running_loop()
        records = _Records()
        work = deque(range(requests)) if arrivals is None else deque()
        done: asyncio.Future[None] = loop.create_future()
        made = []
        for number in range(workers):
            dice, waiters = random.Random(number), _Waiters()
            quota: Any
            if local:
                quota = LocalQuota({KEY: limits}, batch=Batch())
            else:
                member = Member(f"w{number}", dice.random, loop_now_s, waiters.wake)
                quota = SharedQuota({KEY: limits}, {KEY: "record"}, member, records, batch=Batch())
                records.quotas.append(quota)
                await quota.start()
            made.append(_Worker(quota, provider, work, slots, dice=dice, waiters=waiters, records=records))
        began_s = loop.time()
        tasks = [loop.create_task(worker.run(done)) for worker in made]
        feeding = None if arrivals is None else loop.create_task(arrivals(work))
        while len(provider.answered_s) < requests and loop.time() - began_s < longest_s:
            await asyncio.sleep(0.01)
        took_s = loop.time() - began_s
        outcome = Outcome(took_s, records.writes, [each.quota.learned(KEY, loop.time()) for each in made])
        for task in (*tasks, *([feeding] if feeding else [])):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for worker in made:
            if not local:
                await worker.quota.stop()
        return outcome

    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(main())
