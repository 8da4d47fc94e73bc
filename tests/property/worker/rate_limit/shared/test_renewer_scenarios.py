"""C1, C4: single scenarios, found by the network machine or by a reader."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from penstock.contract import codec
from penstock.contract.quota import QuotaRecord
from penstock.runtime.config.catalogue import Limits
from services.worker.rate_limit.limit import Observation
from services.worker.rate_limit.quota import Need
from tests.property.worker.rate_limit.shared.quota_world import KEY, Fate, Process, QuotaWorld


@pytest.fixture
def world() -> Iterator[QuotaWorld]:
    """Two idle workers that know each other."""
    world = QuotaWorld(Limits(requests_per_minute=9, tokens_per_minute=120))
    for skew_s in (0.0, 5000.0):
        world.join(skew_s)
        world.advance(1.0)
    world.advance(61.0)
    yield world
    world.close()


def _record(world: QuotaWorld) -> QuotaRecord:
    assert world.entry is not None
    return codec.QUOTA.decode(world.entry.data)


@pytest.mark.parametrize("late_s", [0.0, 1.0])
def test_c4_an_idle_worker_observes_a_pause_in_a_new_bucket(world: QuotaWorld, late_s: float):
    """Revisions of a new bucket begin anew: a lower one does not mean an old entry."""
    first, second = world.processes
    world.lose("anew")
    second.is_delayed = bool(late_s)
    first.run_now(lambda: first.quota.pause(KEY, first.now_s + 8.0, "429"))
    world.advance(late_s)
    for stored in second.delayed:
        second.deliver(stored)
    second.is_delayed = False
    world.advance(0.4)
    assert second.quota.wait_s(KEY, Need(0), second.now_s) == pytest.approx(7.6 - late_s, abs=0.1)


def test_c4_a_pause_in_a_new_bucket_survives_the_next_reader(world: QuotaWorld):
    """A worker without the entry reads it a while later, and accepts it because it has its lease."""
    first, second = world.processes
    second.is_delayed = True
    world.lose("anew")
    first.run_now(lambda: first.quota.pause(KEY, first.now_s + 8.0, "429"))
    world.advance(0.4)
    second.run_now(lambda: second.quota.pause(KEY, second.now_s + 1.0, "429"))
    world.advance(0.4)
    for each in world.processes:
        assert each.quota.wait_s(KEY, Need(0), each.now_s) == pytest.approx(7.2, abs=0.1)


@pytest.mark.parametrize("ago_s", [0.0, 0.2, 0.3, 1.0])
def test_c1_a_step_of_the_server_clock_before_a_new_worker_joins(world: QuotaWorld, ago_s: float):
    first, _ = world.processes
    for _ in range(9):
        first.ask(0)
    world.advance(0.5)
    first.run_now(lambda: first.quota.pause(KEY, first.now_s + 0.1, "429"))  # written at once
    world.advance(ago_s)
    world.wall_ahead_s += 836.0
    newcomer = world.join(300.0)
    world.advance(0.4)
    for process in (newcomer, first):
        for _ in range(9):
            process.ask(0)
    world.advance(5.0)
    assert world.spent(60.0)[0] == 9
    assert not world.broken


def test_c1_a_long_call_causes_no_writes_without_a_concurrency_limit(world: QuotaWorld):
    """Each round of a renewer computes a write, and finds nothing to report."""
    first, _ = world.processes
    first.ask(0)
    world.advance(5.0)
    assert first.permits
    before, began_s = first.rounds, world.now_s
    world.advance(60.0)
    assert first.rounds - before <= 10, f"since {began_s}: one in 20 s is enough"


def test_c1_a_refund_before_an_outage_is_not_counted_twice(world: QuotaWorld):
    """The report is given up, and stored when the record is reachable again; its writer does not see it yet."""
    first, second = world.processes
    for process in (first, second):
        process.ask(40)
        world.advance(0.05)
    world.advance(1.5)
    assert sum(grain[2] for grain in _record(world).minute) == 80
    first.fates.append(Fate(lands="late", answered=False))
    first.settle(next(iter(first.permits)), 0)
    while not world.flying:
        world.advance(0.05)
    world.is_down = True
    while not all(process.renewer.is_unreachable for process in (first, second)):
        world.advance(1.0)
    first.is_delayed = second.is_frozen = True
    first.failing_since_s = None
    first.fates.append(Fate(slow_s=0.3))
    world.is_down = False
    while first.fates:
        world.advance(0.05)
    assert world.land(world.flying[0]), "the answer of the earlier read is in flight"
    world.advance(2.0)
    first.is_delayed = second.is_frozen = False
    world.advance(3.0)
    assert world.spent(60.0)[1] == 40
    assert sum(grain[2] for grain in _record(world).minute) == 40
    for _ in range(3):
        first.ask(40)
    world.advance(1.0)
    assert not world.broken


def _send_header(process: Process, limit: int, remaining: int | None = None) -> None:
    header = Observation(kind="requests", window="minute", limit=limit, remaining=remaining)
    process.run_now(lambda: process.quota.correct(KEY, header, process.now_s))


@pytest.mark.parametrize("remaining", [2, None])
def test_c4_the_newest_header_counts_also_if_it_equals_the_record(world: QuotaWorld, remaining: int | None):
    """A header that equals the record is not written; an older one, written late, is corrected all the same."""
    first, second = world.processes
    _send_header(second, 3)
    world.advance(60.0)
    first.fates.append(Fate(lands="never", answered=False))
    _send_header(first, 8, 8)
    world.advance(0.2)
    _send_header(second, 3, remaining)
    world.advance(5.0)
    for process in world.processes:
        uses = {use.name: use.limit for use in process.quota.usage(KEY, process.now_s)}
        assert uses["requests_per_minute"] == 3


def test_c4_a_newer_header_raises_the_limit_again(world: QuotaWorld):
    first, second = world.processes
    for process, limit in ((second, 3), (first, 8)):
        _send_header(process, limit)
        world.advance(1.0)
    assert [each.ceiling for each in _record(world).corrections] == [8]


def test_c4_repeated_headers_cause_no_writes(world: QuotaWorld):
    first, second = world.processes
    _send_header(first, 3)
    world.advance(1.0)
    before = world.revision
    for process in (first, second) * 10:
        _send_header(process, 3)
        world.advance(0.2)
    assert world.revision == before


def test_c1_tokens_beyond_the_estimate_are_reported_within_a_second(world: QuotaWorld):
    """Also by an idle worker without a lease, which otherwise writes every 20 s."""
    first, _ = world.processes
    first.ask(40)
    world.advance(3.0)
    first.settle(next(iter(first.permits)), 80)
    world.advance(1.0)
    assert sum(grain[2] for grain in _record(world).minute) == 80


@pytest.mark.parametrize("lasts_s", [2.0, 4.0, 5.5, 8.0, 30.0])
@pytest.mark.parametrize("fate", ["never", "late"])
def test_c1_an_outage_of_one_worker_keeps_the_limit(world: QuotaWorld, lasts_s: float, fate: str):
    """The other worker goes on, and counts the first one's lease as spent when it ends."""
    first, second = world.processes
    world.lend(first)
    first.fates.extend([Fate(lands=fate, answered=False)] * 100)
    for process in (first, second):
        for _ in range(5):
            process.ask(0)
    world.advance(lasts_s)
    for process in (second, first):
        for _ in range(9):
            process.ask(0)
    world.advance(1.0)
    first.fates.clear()
    for flight in tuple(world.flying):
        world.land(flight)
    world.advance(3.0)
    world.squeeze()
    assert not world.broken
    world.end_disturbances()
    world.advance(65.0)
    for _ in range(9):
        second.ask(0)
    world.advance(2.0)
    assert world.spent(60.0)[0] == 9, "no quota is lost for longer than a minute"


def test_c1_a_pending_write_is_not_repeated_in_a_new_bucket(world: QuotaWorld):
    """Revisions of the new bucket reach the one on which the pending write was planned."""
    first, second = world.processes
    first.fates.append(Fate(lands="never", answered=False))
    for _ in range(9):
        first.ask(0)
    world.advance(0.05)
    pending = first.renewer._writer._pending
    assert pending is not None
    world.lose("anew")
    first.is_delayed = True
    for _ in range(9):
        second.ask(0)
    world.advance(0.4)
    while world.revision < pending.revision:
        until_s = second.renewer.pause_state.until_s
        second.run_now(
            lambda until_s=until_s: second.quota.pause(KEY, max(until_s, second.now_s) + 0.01, "429")
        )
        world.advance(0.02)
    assert world.revision == pending.revision
    assert world.spent(60.0)[0] == 9
    second.is_frozen = True
    world.advance(3.0)
    world.end_disturbances()
    world.squeeze()
    world.advance(3.0)
    assert not world.broken
