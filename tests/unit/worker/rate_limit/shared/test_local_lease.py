"""C4: how many slots of a shared limit of concurrent calls a worker asks for."""

from __future__ import annotations

from penstock.contract.quota import QuotaRecord
from penstock.runtime.config.catalogue import Limits
from services.worker.rate_limit.record.accounting import RecordAccounting
from services.worker.rate_limit.record.allocation import LeaseReport, allocate
from services.worker.rate_limit.record.lease_settings import LEASE_SETTINGS
from services.worker.rate_limit.record.record_clock import RecordClock
from services.worker.rate_limit.shared.local_lease import LocalLease

AT_ONCE = 20


class Leasing:
    """A lease on 1,000 concurrent calls, and its writes, one each second."""

    def __init__(self) -> None:
        self.now_s = 1.0
        self.accounting = RecordAccounting(Limits(concurrency=1_000), LEASE_SETTINGS)
        self.clock = RecordClock()
        self.record = QuotaRecord(at_ms=0)
        self.lease = LocalLease(self.accounting, self.clock, lambda: None)

    def report(self, *, others_wait: bool = False) -> LeaseReport:
        return self.lease.report("w", self.now_s, paused=False, others_wait=others_wait)

    def write(self) -> None:
        report = self.report()
        allocation = allocate(self.record, report, self.accounting, self.clock.now_ms(self.now_s))
        self.lease.begin(report, allocation, self.now_s)
        self.record = allocation.record
        self.lease.commit()
        self.now_s += 1

    def calls(self) -> list[int | None]:
        return [self.lease.acquire(0, self.now_s) for _ in range(AT_ONCE)]

    def end(self, calls: list[int | None]) -> None:
        for number in calls:
            assert number is not None
            self.lease.settle(number, 0, self.now_s)


def test_c4_the_slots_of_the_busiest_moment_stay_leased_for_the_next_one():
    leasing = Leasing()
    for waiter in range(AT_ONCE):
        leasing.lease.demand.enqueue(0, leasing.now_s, waiter + 1)
    leasing.write()
    for _ in range(5):
        leasing.end(leasing.calls())
        leasing.write()
        assert leasing.report().running == 0


def test_c4_free_slots_are_returned_while_others_wait_and_after_a_quiet_time():
    leasing = Leasing()
    for waiter in range(AT_ONCE):
        leasing.lease.demand.enqueue(0, leasing.now_s, waiter + 1)
    leasing.write()
    leasing.end(leasing.calls())
    assert leasing.report().want.slots >= AT_ONCE
    assert leasing.report(others_wait=True).want.slots < AT_ONCE / 2
    leasing.write()
    leasing.end([leasing.lease.acquire(0, leasing.now_s)])
    leasing.write()
    assert leasing.report().want.slots < AT_ONCE / 2
