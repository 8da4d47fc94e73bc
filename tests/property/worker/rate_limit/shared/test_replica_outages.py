"""C1: workers whose record is unreachable, and is reachable again, with or without its contents.

Together they admit no more than the limit in any minute or day, in any order of leases, outages, crashes, returns and
losses. Excluded is a newcomer that finds an empty bucket before a worker that knows the lost record is back
(docs/decisions/0010).
"""

from __future__ import annotations

from math import inf

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from penstock.contract import codec
from penstock.runtime.config.catalogue import Limits
from services.worker.rate_limit.record.accounting import RecordAccounting
from services.worker.rate_limit.record.allocation import allocate
from services.worker.rate_limit.record.lease_settings import LeaseSettings
from services.worker.rate_limit.shared.replica import Replica
from services.worker.rate_limit.shared.store_protocol import Stored
from tests.harness.suite.examples import examples

LEASE_SETTINGS = LeaseSettings(margin_ms=0)
MINUTE_S, DAY_S = 60.0, 86_400.0
TOKENS = st.lists(st.integers(0, 20), min_size=1, max_size=5)


class OutageMachine(RuleBasedStateMachine):
    limits = Limits(requests_per_minute=9, tokens_per_minute=120)

    def __init__(self) -> None:
        super().__init__()
        self.accounting = RecordAccounting(self.limits, LEASE_SETTINGS)
        self.now_s = 1000.0
        self.entry: Stored | None = None
        self.revision = 0
        self.is_down, self.since_s = False, 0.0
        self.workers: list[Replica] = []
        self.log: list[list[float]] = []
        self.open: dict[tuple[str, int], int] = {}
        self.names = 0
        self.join()

    def one(self, data: st.DataObject) -> Replica:
        return self.workers[data.draw(st.integers(0, len(self.workers) - 1))]

    # -- the world

    @rule(quarters=st.one_of(st.integers(0, 8), st.integers(0, 40), st.integers(0, 300)))
    def time_passes(self, quarters: int) -> None:
        self.now_s += quarters / 4

    @precondition(lambda self: not self.is_down and len(self.workers) < 4)
    @rule()
    def join(self) -> None:
        if self.entry is None and self.workers:
            return  # a worker that knows the lost record has to write first
        self.names += 1
        worker = Replica("record", f"w{self.names}", self.accounting, lambda: None)
        known = [other.clock.now_ms(self.now_s) for other in self.workers]
        worker.clock.observe(max(known, default=0), self.now_s)
        self.workers.append(worker)
        self.write_of(worker)

    @precondition(lambda self: len(self.workers) > 1)
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        self.workers.remove(self.one(data))

    @precondition(lambda self: not self.is_down)
    @rule()
    def the_record_is_unreachable_for_all(self) -> None:
        for worker in self.workers:
            self.write_of(worker)  # idle workers do so every 20 s
        self.is_down, self.since_s = True, self.now_s

    @precondition(lambda self: self.is_down)
    @rule(lost=st.booleans())
    def the_record_is_reachable_again(self, lost: bool) -> None:
        """With its contents, or empty."""
        self.is_down = False
        if lost:
            self.entry, self.revision = None, 0

    # -- requests

    @rule(data=st.data(), tokens=TOKENS)
    def ask(self, data: st.DataObject, tokens: list[int]) -> None:
        worker = self.one(data)
        for each in tokens:
            self.acquire(worker, each)

    @rule(data=st.data(), tokens=TOKENS)
    def ask_until_served(self, data: st.DataObject, tokens: list[int]) -> None:
        worker = self.one(data)
        for each in tokens:
            worker.lease.demand.enqueue(each, self.now_s)
        self.write_of(worker)
        for each in tokens:
            self.acquire(worker, each)

    def acquire(self, worker: Replica, tokens: int) -> None:
        number = worker.lease.acquire(tokens, self.now_s)
        if number is None:
            worker.lease.demand.enqueue(tokens, self.now_s)
            return
        limits = self.limits
        assert self.spent(MINUTE_S, 1) + 1 <= (limits.requests_per_minute or inf)
        assert self.spent(MINUTE_S, 2) + tokens <= (limits.tokens_per_minute or inf)
        assert self.spent(DAY_S, 1) + 1 <= (limits.requests_per_day or inf)
        assert self.spent(DAY_S, 2) + tokens <= (limits.tokens_per_day or inf)
        self.open[worker.holder, number] = len(self.log)
        self.log.append([self.now_s, 1, tokens])

    def spent(self, span_s: float, column: int) -> float:
        return sum(row[column] for row in self.log if row[0] + span_s > self.now_s)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), share=st.integers(0, 4))
    def settle(self, data: st.DataObject, share: int) -> None:
        holder, number = data.draw(st.sampled_from(sorted(self.open)))
        row = self.log[self.open.pop((holder, number))]
        for worker in self.workers:
            if worker.holder == holder:
                row[2] = int(row[2]) * share // 4
                worker.lease.settle(number, int(row[2]), self.now_s)

    # -- writes

    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        self.write_of(self.one(data))

    def write_of(self, worker: Replica) -> None:
        if self.is_down:
            return
        worker.load(self.entry, self.now_s)
        report = worker.lease.report(worker.holder, self.now_s, paused=False)
        made = allocate(worker.record, report, self.accounting, worker.clock.now_ms(self.now_s))
        worker.lease.begin(report, made, self.now_s)
        self.revision += 1
        self.entry = Stored(codec.encode(made.record), self.revision, self.now_s)
        worker.adopt(made.record, self.revision, self.now_s)
        worker.lease.commit()
        for other in self.workers:
            if other is not worker:
                other.observe(self.entry, self.now_s, joined=True)


class DayMachine(OutageMachine):
    limits = Limits(requests_per_minute=20, requests_per_day=30, tokens_per_day=500)

    @precondition(lambda self: self.is_down)
    @rule(minutes=st.integers(1, 120))
    def a_long_outage(self, minutes: int) -> None:
        self.now_s += minutes * 60


_settings = settings(max_examples=examples(150), stateful_step_count=50, deadline=None)
OutageMachine.TestCase.settings = DayMachine.TestCase.settings = _settings
TestOutages = OutageMachine.TestCase
TestLongOutages = DayMachine.TestCase


def _all_of_it(machine: OutageMachine, worker: Replica) -> int:
    """Lease and spend until no more quota is available."""
    count = 0
    while True:
        worker.lease.demand.enqueue(1, machine.now_s)
        machine.write_of(worker)
        had = count
        while worker.lease.acquire(1, machine.now_s) is not None:
            count += 1
        if count == had:
            return count


def test_c1_an_outage_longer_than_a_lease_neither_adds_nor_loses_quota() -> None:
    machine = OutageMachine()
    machine.join()
    first, second = machine.workers
    assert _all_of_it(machine, second) == 9
    machine.now_s += MINUTE_S + 1
    for _ in range(3):
        machine.acquire(first, 1)
    machine.write_of(first)
    machine.the_record_is_unreachable_for_all()
    machine.now_s += LEASE_SETTINGS.lease_ms / 1000
    for worker in (first, second):
        machine.acquire(worker, 1)
    machine.the_record_is_reachable_again(lost=True)
    machine.write_of(first)
    spent = len(machine.log)
    assert spent + sum(_all_of_it(machine, worker) for worker in (first, second)) == 9
