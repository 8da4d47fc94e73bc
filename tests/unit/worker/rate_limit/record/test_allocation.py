"""C1: allocation of a shared quota, and the replica of its record."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from penstock.contract import codec
from penstock.contract.quota import QuotaLease, QuotaRecord
from penstock.runtime.config.catalogue import Limits
from services.worker.rate_limit.limit import Observation
from services.worker.rate_limit.record.accounting import RecordAccounting
from services.worker.rate_limit.record.allocation import LeaseReport, allocate, lease_of
from services.worker.rate_limit.record.lease_settings import LEASE_SETTINGS, NOTHING, Amounts
from services.worker.rate_limit.record.record_clock import RecordClock
from services.worker.rate_limit.record.record_view import RecordView
from services.worker.rate_limit.shared.replica import Replica, rebuilt
from services.worker.rate_limit.shared.store_protocol import Stored

ACCOUNTING = RecordAccounting(Limits(requests_per_minute=10, tokens_per_minute=1000), LEASE_SETTINGS)
NOW_MS = 500_000


def record(*leases: QuotaLease, spent: tuple[int, int] = (0, 0)) -> QuotaRecord:
    grains = ((NOW_MS // LEASE_SETTINGS.minute_grain_ms, *spent),) if any(spent) else ()
    return QuotaRecord(at_ms=NOW_MS, minute=grains, leases=leases)


def lease(holder: str, requests: int = 0, tokens: int = 0, **rest: int) -> QuotaLease:
    return QuotaLease(
        holder=holder, number=1, until_ms=NOW_MS + 5000, requests=requests, tokens=tokens, **rest
    )


def waits(holder: str, tokens: int, want: Amounts | None = None) -> LeaseReport:
    first = Amounts(1, tokens)
    return LeaseReport(holder=holder, number=2, first=first, want=want or first)


def test_c1_a_waiter_gets_all_that_its_first_request_needs():
    made = allocate(record(lease("b", 1, 300)), waits("a", 600), ACCOUNTING, NOW_MS)
    assert made.held == Amounts(1, 600)
    assert not made.waits


def test_c1_a_lease_too_small_for_a_request_is_returned():
    made = allocate(record(lease("a", 2, 300), lease("b", 1, 200)), waits("a", 900), ACCOUNTING, NOW_MS)
    assert made.held == NOTHING
    assert made.waits
    assert lease_of(made.record, "a").waits_for_tokens == 900


def test_c6_batch_leases_nothing_of_the_reserve_and_does_not_queue_for_it():
    leave_reserve = RecordAccounting(Limits(requests_per_minute=10), LEASE_SETTINGS, batch_reserve=0.2)
    batch = LeaseReport(holder="a", number=2, first=Amounts(1), want=Amounts(9), batch_only=True)
    assert allocate(record(spent=(4, 0)), batch, leave_reserve, NOW_MS).held.requests == 4

    made = allocate(record(lease("a", 1), spent=(8, 0)), batch, leave_reserve, NOW_MS)
    assert made.held == NOTHING, "what it held of the reserve is returned"
    assert not made.waits
    interactive = LeaseReport(holder="b", number=2, first=Amounts(1), want=Amounts(2))
    assert allocate(made.record, interactive, leave_reserve, NOW_MS).held.requests == 2

    lately = LeaseReport(holder="a", number=2, want=Amounts(2), batch_only=True)
    assert allocate(record(spent=(8, 0)), lately, leave_reserve, NOW_MS).held == NOTHING, (
        "nor for what may come"
    )


def test_c3_a_worker_that_finds_everything_leased_looks_again_soon():
    leased = record(lease("b", 2), spent=(8, 0))
    need = Amounts(1, 10)
    found = ACCOUNTING.blocking_limit(leased, need, NOW_MS, "a")
    assert found is not None
    assert found[0] <= NOW_MS + 1000, "it may be returned at any time, without a wake-up"
    spent = record(spent=(10, 0))
    found = ACCOUNTING.blocking_limit(spent, need, NOW_MS, "a")
    assert found is not None
    assert found[0] > NOW_MS + 59_000


def test_c1_two_workers_that_each_hold_half_do_not_wait_for_ever():
    before = record(lease("a", 1, 500), lease("b", 1, 500))
    made = allocate(before, waits("a", 700), ACCOUNTING, NOW_MS)
    made = allocate(made.record, waits("b", 700), ACCOUNTING, NOW_MS + 1)
    assert made.waits, "a waits longer"
    assert allocate(made.record, waits("a", 700), ACCOUNTING, NOW_MS + 2).held == Amounts(1, 700)


def test_c1_the_need_of_the_longest_waiter_is_left_to_it():
    elder = lease("b", waits_since_ms=NOW_MS - 1000, waits_for_tokens=800)
    made = allocate(record(elder), waits("a", 300), ACCOUNTING, NOW_MS)
    assert made.waits
    assert allocate(record(elder), waits("a", 200), ACCOUNTING, NOW_MS).held == Amounts(1, 200)


def test_c1_a_new_worker_gets_its_share_and_not_the_rest():
    report = LeaseReport(holder="a", number=1, want=Amounts(10, 1000))
    assert allocate(record(lease("b", 2, 200)), report, ACCOUNTING, NOW_MS).held == Amounts(4, 400)


def test_c1_a_lease_that_ended_counts_as_spent_at_its_end():
    dead = QuotaLease(holder="dead", number=1, until_ms=NOW_MS - 1000, requests=3, tokens=400)
    made = allocate(record(dead), LeaseReport(holder="a", number=1), ACCOUNTING, NOW_MS)
    assert made.record.minute == (((NOW_MS - 1000) // LEASE_SETTINGS.minute_grain_ms, 3, 400),)
    assert {each.holder for each in made.record.leases} == {"a"}


def test_c1_within_the_grace_time_a_lease_is_valid():
    late = QuotaLease(holder="late", number=1, until_ms=NOW_MS - 100, requests=3, tokens=400)
    made = allocate(record(late), LeaseReport(holder="a", number=1), ACCOUNTING, NOW_MS)
    assert {each.holder for each in made.record.leases} == {"late", "a"}


def test_c4_a_pause_grants_nothing_and_a_shorter_one_has_no_effect():
    report = LeaseReport(holder="a", number=1, pause=(NOW_MS + 120_000, "429"))
    paused = allocate(record(), report, ACCOUNTING, NOW_MS).record
    assert allocate(paused, waits("b", 10), ACCOUNTING, NOW_MS).held == NOTHING
    shorter = allocate(
        paused, LeaseReport(holder="b", number=1, pause=(NOW_MS + 1000, "x")), ACCOUNTING, NOW_MS
    ).record
    assert (shorter.paused_until_ms, shorter.pause_reason) == (NOW_MS + 120_000, "429")


def test_c1_a_write_never_sets_the_records_clock_back():
    assert (
        allocate(record(), LeaseReport(holder="a", number=1), ACCOUNTING, NOW_MS - 9000).record.at_ms
        == NOW_MS
    )


def test_c1_the_records_clock_follows_the_furthest_writer():
    clock = RecordClock()
    clock.observe(10_000, 3.0)
    assert clock.now_ms(4.0) == 11_000
    clock.observe(10_500, 4.0)
    assert clock.now_ms(4.0) == 11_000, "that record was slow to arrive"
    clock.observe(12_000, 4.0)
    assert clock.now_ms(4.0) == 12_000
    assert clock.local_s(13_000) == pytest.approx(5.0)
    assert clock.is_behind(11_000, 4.0)
    assert not clock.is_behind(11_900, 4.0)


@pytest.mark.parametrize(("remaining", "left"), [(400, 400), (2000, 700), (0, 0)])
def test_c4_a_header_lowers_what_is_left_and_never_raises_it(remaining: int, left: int):
    clock = RecordClock()
    clock.observe(NOW_MS, 0.0)
    view = RecordView("a", ACCOUNTING, clock)
    view.record = record(spent=(2, 300))
    word = Observation(kind="tokens", window="minute", limit=1000, remaining=remaining, reset_s=30.0)
    found = view.correction(word, 0.0)
    report = LeaseReport(holder="a", number=1, corrections=() if found is None else (found,))
    made = allocate(view.record, report, ACCOUNTING, NOW_MS)
    assert ACCOUNTING.free(made.record, NOW_MS, without="a").tokens == left
    assert ACCOUNTING.free(made.record, NOW_MS + 30_001, without="a").tokens == 700, (
        "the header counts for 30 s"
    )


def test_c4_a_newer_header_replaces_an_older_one():
    clock = RecordClock()
    clock.observe(NOW_MS, 0.0)
    view = RecordView("a", ACCOUNTING, clock)
    view.record = record()
    for remaining in (100, 900):
        word = Observation(kind="tokens", window="minute", remaining=remaining, reset_s=30.0)
        found = view.correction(word, 0.0)
        assert found is not None
        view.record = allocate(
            view.record, LeaseReport(holder="a", number=1, corrections=(found,)), ACCOUNTING, NOW_MS
        ).record
    assert ACCOUNTING.free(view.record, NOW_MS, without="a").tokens == 900


@pytest.mark.parametrize("limits", [(600,), (600, 800), (800, 600, 2000)])
def test_c4_remaining_counts_from_the_limit_in_the_same_header(limits: tuple[int, ...]):
    clock = RecordClock()
    clock.observe(NOW_MS, 0.0)
    view = RecordView("a", ACCOUNTING, clock)
    view.record = record(spent=(2, 300))
    for limit in limits:
        in_force = min(limit, 1000)
        word = Observation(
            kind="tokens", window="minute", limit=limit, remaining=in_force - 300, reset_s=30.0
        )
        found = view.correction(word, 0.0)
        assert found is not None
        view.record = allocate(
            view.record, LeaseReport(holder="a", number=1, corrections=(found,)), ACCOUNTING, NOW_MS
        ).record
        assert ACCOUNTING.free(view.record, NOW_MS, without="a").tokens == in_force - 300


def test_c1_a_rebuilt_record_keeps_every_lease_and_all_spending():
    known = record(lease("a", 1, 100), lease("b"), spent=(2, 200))
    made = rebuilt(known, None, ACCOUNTING, NOW_MS + 3000)
    assert made == replace(known, at_ms=NOW_MS + 3000)


def test_c1_a_rebuilt_record_counts_what_a_new_worker_spent():
    known = record(lease("a"), spent=(2, 200))
    found = QuotaRecord(at_ms=900, minute=((1, 3, 300),), leases=(lease("new", 1, 50),))
    made = rebuilt(known, found, ACCOUNTING, NOW_MS)
    assert ACCOUNTING.free(made, NOW_MS) == Amounts(10 - 2 - 3 - 1, 1000 - 200 - 300 - 50, 1 << 53)


def test_c1_a_lease_in_a_rebuilt_record_is_cut_to_what_is_free():
    known = record(lease("a", 3, 100), lease("b"), spent=(10, 900))
    made = allocate(rebuilt(known, None, ACCOUNTING, NOW_MS), waits("a", 1), ACCOUNTING, NOW_MS + 1)
    assert made.held == NOTHING


def test_c1_spending_too_old_to_count_is_not_stored():
    """A worker reports after six hours what it spent meanwhile."""
    hours_ago = (NOW_MS * 100 - 6 * 3_600_000) // LEASE_SETTINGS.minute_grain_ms
    spent = tuple((hours_ago + 2 * number, 1, 10) for number in range(21_600))
    daily = RecordAccounting(Limits(requests_per_minute=10, requests_per_day=100_000), LEASE_SETTINGS)
    made = allocate(record(), LeaseReport(holder="a", number=1, spent=spent), daily, NOW_MS * 100)
    assert len(made.record.minute) < 130
    assert len(made.record.day) < 20
    assert sum(grain[1] for grain in made.record.day) == 21_600


def test_c1_an_old_entry_is_ignored_and_a_new_bucket_is_not():
    replica = Replica("record", "a", ACCOUNTING, lambda: None)
    mine = allocate(record(), waits("a", 100), ACCOUNTING, NOW_MS).record
    replica.load(Stored(codec.encode(mine), 7, 0.0), 0.0)
    later = replace(mine, at_ms=NOW_MS + 900, minute=((NOW_MS // 500, 3, 300),))
    replica.load(Stored(codec.encode(later), 9, 0.0), 0.9)
    replica.load(Stored(codec.encode(mine), 7, 0.0), 1.0)
    assert (replica.revision, replica.record) == (9, later)
    anew = allocate(QuotaRecord(at_ms=0), waits("z", 100), ACCOUNTING, 5).record
    replica.load(Stored(codec.encode(anew), 1, 0.0), 1.1)
    assert replica.revision == 1
    assert replica.record.minute[0] == later.minute[0]
