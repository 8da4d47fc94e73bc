"""C1: several workers on one record. No order of leases, crashes, late writes, lost answers, clock steps, corrections
and returns admits more than the limit in any window.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from penstock.contract.quota import QuotaLease, QuotaRecord
from penstock.runtime.config.catalogue import Limits
from services.worker.rate_limit.record.accounting import RecordAccounting, earlier_waiters
from services.worker.rate_limit.record.allocation import (
    Allocation,
    LeaseReport,
    allocate,
    fair_share,
    lease_of,
)
from services.worker.rate_limit.record.lease_settings import Amounts, LeaseSettings
from services.worker.rate_limit.record.record_clock import RecordClock
from services.worker.rate_limit.shared.local_lease import LocalLease
from tests.harness.suite.examples import examples

LEASE_SETTINGS = LeaseSettings(margin_ms=0)
"""Without a margin: the policy must be exact without one."""
ROUNDING = 1e-3
"""Tolerance in seconds: an instant of the record is a whole millisecond."""
MINUTE_S, DAY_S = 60.0, 86_400.0
QUEUED = st.none() | st.dictionaries(st.sampled_from(["chat", "coding"]), st.integers(0, 1000))
"""Queue lengths by each worker's own report, which may contradict another's; None: a worker of an older version."""


@dataclass
class Call:
    tokens: int
    spend: int
    """Index of the call in the true log."""
    outlived: bool = False
    """True if the worker could not renew in time; a call in flight cannot be withdrawn."""


@dataclass
class Worker:
    name: str
    accounting: RecordAccounting
    skew_s: float
    """Offset of the worker's monotonic clock from the true time."""
    clock: RecordClock = field(default_factory=RecordClock)
    record: QuotaRecord = field(default_factory=lambda: QuotaRecord(at_ms=0))
    revision: int = 0
    calls: dict[int, Call] = field(default_factory=dict)
    pending: tuple[LeaseReport, Allocation, int] | None = None
    wait: bool = False
    queued: dict[str, int] | None = None

    def __post_init__(self) -> None:
        self.lease = LocalLease(self.accounting, self.clock, lambda: None)


class SharedMachine(RuleBasedStateMachine):
    """Compares with a log of what was admitted, at the true time."""

    limits = Limits(requests_per_minute=4)

    def __init__(self) -> None:
        super().__init__()
        self.accounting = RecordAccounting(self.limits, LEASE_SETTINGS, batch_reserve=0.25)
        self.now_s = 1000.0
        self.record = QuotaRecord(at_ms=0)
        self.revision = 0
        self.workers: list[Worker] = []
        self.log: list[list[float]] = []
        self.paused_until_s = 0.0
        self.flying: list[tuple[Allocation, int]] = []
        """Writes without an answer: they may arrive at any time, or never."""
        self.names = 0
        self.join(0)

    def local_s(self, worker: Worker) -> float:
        return self.now_s + worker.skew_s

    def store(self, made: QuotaRecord, on: int) -> bool:
        if on != self.revision:
            return False
        self.record, self.revision = made, self.revision + 1
        return True

    def take(self, worker: Worker) -> None:
        worker.record, worker.revision = self.record, self.revision
        worker.clock.observe(self.record.at_ms, self.local_s(worker))
        if lease_of(self.record, worker.name).number == 0:
            worker.lease.revoke()

    # -- the world

    @rule(
        quarters=st.one_of(st.integers(0, 6), st.integers(0, 30), st.integers(0, 300), st.integers(0, 30_000))
    )
    def time_passes(self, quarters: int) -> None:
        self.now_s += quarters / 4
        self.observe_living_workers()

    def observe_living_workers(self) -> None:
        """Living workers observe each other's records, and with them the time."""
        for worker in self.workers:
            if worker.lease.good_until_s <= self.local_s(worker):
                for call in worker.calls.values():
                    call.outlived = True
            if worker.revision == self.revision:
                worker.clock.observe(self.record.at_ms, self.local_s(worker))

    @precondition(lambda self: len(self.workers) < 4)
    @rule(skew=st.integers(-10_000, 10_000))
    def join(self, skew: int) -> None:
        """A newcomer learns the time from workers that know it; alone, from how long no worker wrote."""
        self.names += 1
        worker = Worker(f"w{self.names}", self.accounting, float(skew))
        knowing = [other for other in self.workers if other.clock.is_set]
        at_ms = max((other.clock.now_ms(self.local_s(other)) for other in knowing), default=None)
        if at_ms is None:
            at_ms = max(self.record.at_ms, int((self.now_s - 1000) * 1000))
        worker.clock.observe(at_ms, self.local_s(worker))
        worker.record, worker.revision = self.record, self.revision
        self.workers.append(worker)

    @precondition(lambda self: len(self.workers) > 1)
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        self.workers.remove(data.draw(st.sampled_from(self.workers)))

    @rule(data=st.data())
    def observe(self, data: st.DataObject) -> None:
        self.take(data.draw(st.sampled_from(self.workers)))

    @rule(data=st.data(), queued=QUEUED)
    def requests_queue_behind(self, data: st.DataObject, queued: dict[str, int] | None) -> None:
        data.draw(st.sampled_from(self.workers)).queued = queued

    # -- requests

    @rule(data=st.data(), tokens=st.lists(st.integers(0, 40), min_size=1, max_size=6))
    def ask(self, data: st.DataObject, tokens: list[int]) -> None:
        worker = data.draw(st.sampled_from(self.workers))
        for each in tokens:
            self.acquire(worker, each)

    @rule(data=st.data(), tokens=st.lists(st.integers(0, 40), min_size=1, max_size=6))
    def ask_until_served(self, data: st.DataObject, tokens: list[int]) -> None:
        self.ask_until_served_by(data.draw(st.sampled_from(self.workers)), tokens)

    def ask_until_served_by(self, worker: Worker, tokens: list[int]) -> None:
        for each in tokens:
            worker.lease.demand.enqueue(each, self.local_s(worker))
        self.store_report_of(worker)
        for each in tokens[::2]:
            self.acquire(worker, each)

    @rule(data=st.data(), tokens=st.integers(0, 40), waiter=st.integers(1, 3), batch_only=st.booleans())
    def enqueue(self, data: st.DataObject, tokens: int, waiter: int, batch_only: bool) -> None:
        worker = data.draw(st.sampled_from(self.workers))
        worker.lease.demand.enqueue(tokens, self.local_s(worker), waiter, batch_only=batch_only)
        self.store_report_of(worker)

    @rule(data=st.data(), waiter=st.integers(1, 3))
    def withdraw(self, data: st.DataObject, waiter: int) -> None:
        """A withdrawn request waits no longer in the record."""
        worker = data.draw(st.sampled_from(self.workers))
        worker.lease.demand.withdraw(waiter)
        self.store_report_of(worker)
        if worker.lease.demand.first is None and worker.pending is None:
            assert lease_of(self.record, worker.name).waits_since_ms is None

    def acquire(self, worker: Worker, tokens: int) -> None:
        number = worker.lease.acquire(tokens, self.local_s(worker))
        if number is None:
            worker.lease.demand.enqueue(tokens, self.local_s(worker))
            return
        limits = self.limits
        requests, most_tokens = limits.requests_per_minute or inf, limits.tokens_per_minute or inf
        assert self.used(1, requests) + 1 <= requests + ROUNDING
        assert self.used(2, most_tokens) + tokens <= most_tokens + ROUNDING
        assert self.spent(DAY_S, 1) + 1 <= (limits.requests_per_day or inf)
        assert self.spent(DAY_S, 2) + tokens <= (limits.tokens_per_day or inf)
        running = [call for each in self.workers for call in each.calls.values() if not call.outlived]
        assert len(running) + 1 <= (limits.concurrency or inf)
        worker.calls[number] = Call(tokens, len(self.log))
        self.log.append([self.now_s, 1, tokens])

    def used(self, column: int, limit: float) -> float:
        """Use as the provider counts it."""
        if self.limits.kind == "window" or limit == inf:
            return self.spent(MINUTE_S, column)
        level, at_s = 0.0, 0.0
        for row in [*self.log, [self.now_s, 0, 0]]:
            level = max(0.0, level - limit / MINUTE_S * (row[0] - at_s)) + row[column]
            at_s = row[0]
        return level

    def spent(self, span_s: float, column: int) -> float:
        return sum(row[column] for row in self.log if row[0] + span_s > self.now_s)

    @precondition(lambda self: any(worker.calls for worker in self.workers))
    @rule(data=st.data(), share=st.integers(0, 4))
    def settle(self, data: st.DataObject, share: int) -> None:
        worker = data.draw(st.sampled_from([each for each in self.workers if each.calls]))
        number = data.draw(st.sampled_from(list(worker.calls)))
        call = worker.calls.pop(number)
        true_tokens = call.tokens * share // 4
        worker.lease.settle(number, true_tokens, self.local_s(worker))
        self.log[call.spend][2] = true_tokens

    # -- writes

    def begin(self, worker: Worker, *, leaving: bool = False) -> None:
        now_s = self.local_s(worker)
        report = worker.lease.report(worker.name, now_s, paused=False, leaving=leaving)
        report = replace(report, queued=worker.queued)
        made = allocate(worker.record, report, self.accounting, worker.clock.now_ms(now_s))
        self.check_that_the_oldest_need_comes_first(worker, report, made)
        worker.lease.begin(report, made, now_s)
        worker.pending = (report, made, worker.revision)

    def check_that_the_oldest_need_comes_first(
        self, worker: Worker, report: LeaseReport, made: Allocation
    ) -> None:
        """A share never exceeds what is free beside the needs of earlier waiters, for any reported queues, and the
        longest waiter gets what it needs as soon as that is free.
        """
        now_ms = made.record.at_ms
        mine = lease_of(worker.record, worker.name)
        since_ms = now_ms if mine.waits_since_ms is None else mine.waits_since_ms
        earlier = earlier_waiters(made.record, worker.name, since_ms)
        free = self.accounting.free(made.record, now_ms, without=worker.name, leave_reserve=report.batch_only)
        left = Amounts(
            free.requests - len(earlier),
            free.tokens - sum(each.waits_for_tokens for each in earlier),
            free.slots - len(earlier),
        )
        assert made.held.requests <= max(mine.requests, left.requests)
        assert made.held.tokens <= max(mine.tokens, left.tokens)
        assert made.held.slots <= max(mine.slots, left.slots, report.running)
        first = report.first
        if first is None or earlier:
            return
        if first.requests <= free.requests and first.tokens <= free.tokens and first.slots <= free.slots:
            assert not made.waits
            assert made.held.requests >= first.requests
            assert made.held.tokens >= first.tokens
            assert made.held.slots >= first.slots

    def finish(self, worker: Worker, *, stored: bool) -> None:
        assert worker.pending is not None
        worker.pending = None
        if stored:
            self.take(worker)
            worker.lease.commit()
        else:
            worker.lease.roll_back()
            self.take(worker)

    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        self.store_report_of(data.draw(st.sampled_from(self.workers)))

    def store_report_of(self, worker: Worker) -> None:
        self.resolve(worker)
        for _ in range(2):
            self.begin(worker)
            stored = self.store(worker.pending[1].record, worker.pending[2])
            self.finish(worker, stored=stored)
            if stored:
                return

    @rule(data=st.data())
    def begin_a_write(self, data: st.DataObject) -> None:
        """Send a write whose answer arrives at any later time."""
        worker = data.draw(st.sampled_from(self.workers))
        if worker.pending is None:
            self.begin(worker)
            self.flying.append((worker.pending[1], worker.pending[2]))

    @rule(
        data=st.data(),
        idle=st.sampled_from([0.0, 0.1, 1.25]),
        tokens=st.lists(st.integers(0, 40), max_size=4),
    )
    def a_write_is_stored_and_its_answer_is_slow(
        self, data: st.DataObject, idle: float, tokens: list[int]
    ) -> None:
        """Before the answer, the worker spends its lease and another worker leases what became free."""
        worker, other = (data.draw(st.sampled_from(self.workers)) for _ in range(2))
        self.resolve(worker)
        self.take(worker)
        self.now_s += idle
        self.begin(worker)
        stored = self.store(worker.pending[1].record, worker.pending[2])
        if other is not worker:
            self.ask_until_served_by(other, [*tokens, 0])
        for each in tokens:
            self.acquire(worker, each)
        self.finish(worker, stored=stored)
        for each in tokens:
            self.acquire(worker, each)

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def a_late_write_arrives(self, data: st.DataObject) -> None:
        made, on = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        self.store(made.record, on)

    def resolve(self, worker: Worker) -> None:
        """Resolve a lost answer, as the renewer does."""
        if worker.pending is None:
            return
        report, made, on = worker.pending
        if self.revision == on and self.store(made.record, on):
            self.finish(worker, stored=True)
            return
        found = lease_of(self.record, worker.name).number
        self.finish(worker, stored=found in {0, report.number})
        if found == 0:
            worker.lease.revoke()

    @precondition(lambda self: len(self.workers) > 1)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(self.workers))
        if worker.calls:
            return
        self.resolve(worker)
        self.take(worker)
        self.begin(worker, leaving=True)
        assert self.store(worker.pending[1].record, worker.pending[2])
        self.workers.remove(worker)

    @invariant()
    def the_record_is_bounded(self) -> None:
        assert len(self.record.minute) <= 123
        assert len(self.record.day) <= 62


class BucketMachine(SharedMachine):
    limits = Limits(requests_per_minute=4, kind="token_bucket")


class LargeBucketMachine(SharedMachine):
    limits = Limits(requests_per_minute=90, tokens_per_minute=100, requests_per_day=400, kind="token_bucket")


class TokensMachine(SharedMachine):
    limits = Limits(tokens_per_minute=60)


class DayMachine(SharedMachine):
    limits = Limits(requests_per_minute=8, requests_per_day=10, tokens_per_day=150)


class PlacesMachine(SharedMachine):
    limits = Limits(concurrency=3, tokens_per_minute=200)


_settings = settings(max_examples=examples(150), stateful_step_count=50, deadline=None)
for machine in (SharedMachine, BucketMachine, LargeBucketMachine, TokensMachine, DayMachine, PlacesMachine):
    machine.TestCase.settings = _settings
TestRequests = SharedMachine.TestCase
TestBucket = BucketMachine.TestCase
TestLargeBucket = LargeBucketMachine.TestCase
TestTokens = TokensMachine.TestCase
TestDay = DayMachine.TestCase
TestPlaces = PlacesMachine.TestCase


@given(reports=st.lists(QUEUED, min_size=1, max_size=6))
def test_c1_the_shares_of_all_workers_add_up_to_at_most_one(
    reports: list[dict[str, int] | None],
) -> None:
    leases = [
        QuotaLease(
            holder=f"w{number}",
            number=1,
            until_ms=1,
            waits_since_ms=1,
            queued=None if report is None else tuple(report.items()),
        )
        for number, report in enumerate(reports)
    ]
    parts = [fair_share(each, leases) for each in leases]
    assert sum(parts) <= 1 + 1e-9
    assert min(parts) > 0


def test_c1_four_busy_workers_keep_the_limit_and_use_it() -> None:
    """Ten simulated minutes: conflicts at random, one worker crashes and another joins."""
    dice = random.Random(4)
    limits = Limits(requests_per_minute=600, tokens_per_minute=100_000)
    accounting = RecordAccounting(limits, LeaseSettings())
    record, revision, now_s = QuotaRecord(at_ms=0), 0, 50.0
    spends: list[tuple[float, int]] = []
    workers = [_Busy(f"w{number}", accounting, dice.uniform(-1e5, 1e5)) for number in range(4)]
    while now_s < 650:
        now_s += 0.02
        if abs(now_s - 300) < 0.01:
            workers = [*workers[1:], _Busy("newcomer", accounting, 77.0)]
        for worker in workers:
            local_s = now_s + worker.skew_s
            if not worker.clock.is_set:
                worker.clock.observe(record.at_ms, local_s)
            if dice.random() < 0.02:
                worker.queued = {dice.choice(("chat", "coding")): dice.randrange(100)}
            for _ in range(dice.randrange(2)):
                worker.ask(dice.randint(100, 300), local_s, now_s, spends, dice)
            worker.settle(local_s)
            if dice.random() < 0.15:
                seen, base = (record, revision) if dice.random() < 0.8 else (worker.record, worker.revision)
                stored = worker.write(seen, base == revision, local_s)
                if stored is not None:
                    record, revision = stored, revision + 1
                worker.record, worker.revision = record, revision
                worker.clock.observe(record.at_ms, local_s)
    starts = [at_s for at_s, _ in spends]
    for start_s in starts[::50]:
        window = [tokens for at_s, tokens in spends if start_s <= at_s < start_s + 60]
        assert len(window) <= 600
        assert sum(window) <= 100_000
    used = sum(tokens for at_s, tokens in spends if at_s >= 110)
    full = sum(1 for at_s, _ in spends if at_s >= 110)
    minutes = (650 - 110) / 60
    assert max(used / 100_000, full / 600) >= 0.95 * minutes


class _Busy:
    def __init__(self, name: str, accounting: RecordAccounting, skew_s: float) -> None:
        self.name, self.accounting, self.skew_s = name, accounting, skew_s
        self.clock = RecordClock()
        self.lease = LocalLease(accounting, self.clock, lambda: None)
        self.record, self.revision = QuotaRecord(at_ms=0), 0
        self.open: list[tuple[float, int, int]] = []
        self.queued: dict[str, int] | None = None

    def ask(self, tokens: int, local_s: float, now_s: float, spends: list, dice: random.Random) -> None:
        number = self.lease.acquire(tokens, local_s)
        if number is None:
            if self.lease.demand.first is None:
                self.lease.demand.enqueue(tokens, local_s)
            return
        spends.append((now_s, tokens))
        self.open.append((local_s + dice.uniform(0.05, 3), number, tokens))

    def settle(self, local_s: float) -> None:
        for due_s, number, tokens in tuple(self.open):
            if due_s <= local_s:
                self.lease.settle(number, tokens, local_s)
                self.open.remove((due_s, number, tokens))

    def write(self, record: QuotaRecord, current: bool, local_s: float) -> QuotaRecord | None:
        report = replace(self.lease.report(self.name, local_s, paused=False), queued=self.queued)
        made = allocate(record, report, self.accounting, self.clock.now_ms(local_s))
        self.lease.begin(report, made, local_s)
        if not current:
            self.lease.roll_back()
            return None
        self.lease.commit()
        return made.record
