"""C4: a limit that is not configured is learned from refusals in any order."""

from __future__ import annotations

import itertools
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from penstock.contract.quota import QuotaLearned, QuotaRecord
from penstock.runtime.config.catalogue import Limits
from services.worker.rate_limit.learned.bucket import RecentCalls, RefusalEvidence
from services.worker.rate_limit.learned.rate import (
    Refusal,
    alive,
    burst,
    dropped,
    first_estimate,
    growth,
    learned_from,
    refused,
)
from services.worker.rate_limit.record.accounting import RecordAccounting
from services.worker.rate_limit.record.allocation import LeaseReport, allocate
from services.worker.rate_limit.record.lease_settings import LEARNED_LEASE_SETTINGS

rates = st.floats(1, 100_000)
waits = st.none() | st.just(0.0) | st.floats(0.001, 90)


def known(per_minute: float, **more: object) -> QuotaLearned:
    start = QuotaLearned(
        per_minute=per_minute, measured_from_ms=1000, grows_from_ms=1000, refused_ms=1000, is_measured=True
    )
    return replace(start, **more)


@given(
    per_minute=rates,
    calls=st.integers(0, 5000),
    after_ms=st.integers(1, 600_000),
    wait_s=waits,
    header_limit=st.none() | st.integers(1, 10_000),
)
def test_c4_a_refusal_never_raises_the_rate_or_cuts_it_to_zero(
    per_minute: float, calls: int, after_ms: int, wait_s: float | None, header_limit: int | None
) -> None:
    before = known(per_minute, calls=calls, reported_per_minute=header_limit)
    tried = growth(before).rate(1000 + after_ms) * 60_000
    refusal = Refusal(at_ms=1000 + after_ms, began_ms=1000 + after_ms - 1, retry_after_s=wait_s)
    after = refused(before, refusal)
    assert after.per_minute <= max(tried, per_minute) * (1 + 1e-9)
    assert after.per_minute >= per_minute / 4 * (1 - 1e-9)
    assert growth(after).rate(after.grows_from_ms) * 60_000 <= max(tried, per_minute) * (1 + 1e-9)
    if header_limit is not None:
        assert growth(after).rate(1 << 40) * 60_000 <= header_limit * (1 + 1e-6)


@given(per_minute=rates, calls=st.integers(1, 100), wait_s=waits)
def test_c4_refusals_of_calls_begun_before_the_last_one_do_not_count(
    per_minute: float, calls: int, wait_s: float | None
) -> None:
    before = known(per_minute, calls=calls)
    after = refused(before, Refusal(at_ms=1200, began_ms=999, retry_after_s=wait_s))
    assert after.per_minute == before.per_minute
    assert after.refused_ms == 1200


@given(per_minute=rates, times=st.lists(st.integers(0, 4_000_000), min_size=2, max_size=6))
def test_c4_the_rate_grows_without_refusals_and_its_integral_adds_up(
    per_minute: float, times: list[int]
) -> None:
    grown = growth(known(per_minute))
    times = sorted(times)
    assert [grown.rate(at) for at in times] == sorted(grown.rate(at) for at in times)
    parts = sum(grown.between(start, end) for start, end in itertools.pairwise(times))
    assert parts == pytest.approx(grown.between(times[0], times[-1]), rel=1e-6, abs=1e-6)
    for start, end in itertools.pairwise(times):
        least, most = grown.rate(start) * (end - start), grown.rate(end) * (end - start)
        assert least * (1 - 1e-6) - 1e-6 <= grown.between(start, end) <= most * (1 + 1e-6) + 1e-6
        done = grown.done_at(5.0, start)
        assert grown.between(start, done) >= 5.0 - 1e-6


def test_c4_the_first_estimate_from_refusals() -> None:
    assert first_estimate([300, 240, 400], 3) == 240, (
        "the longest wait is the time in which a bucket gains a token"
    )
    assert first_estimate([300, inf], 60) == 300, "a wait that was rounded to 0 tells nothing of the refill"
    assert first_estimate([inf, inf], 60) == 60
    assert first_estimate([300, None], 60) == 60, "the calls admitted in the last minute"
    assert first_estimate([None], 3) is None, "too little evidence: only the pause applies"


class Refusals:
    """Refusals among calls, in one process."""

    def __init__(self) -> None:
        self.evidence, self.calls, self.now_s = RefusalEvidence(), RecentCalls(), 0.0

    def call(self, *, refused: bool = False, wait_s: float | None = None) -> None:
        self.now_s += 0.1
        self.calls.add(self.now_s)
        if refused:
            at_ms = int(self.now_s * 1000)
            refusal = Refusal(at_ms=at_ms, began_ms=at_ms, retry_after_s=wait_s)
            self.evidence.add(refusal, self.calls, began_s=self.now_s, now_s=self.now_s)

    def estimate(self, header_limit: int | None = None) -> float | None:
        return self.evidence.estimate(header_limit, self.calls.total, self.now_s)


@given(between=st.integers(2, 40), refusals=st.integers(1, 40), wait_s=waits)
def test_c4_few_refusals_among_many_calls_are_not_evidence_of_a_limit(
    between: int, refusals: int, wait_s: float | None
) -> None:
    seen = Refusals()
    for _ in range(refusals):
        for _ in range(between):
            seen.call()
        seen.call(refused=True, wait_s=wait_s)
        assert seen.estimate() is None


def test_c4_a_wave_of_refusals_or_headers_are_evidence_of_a_limit() -> None:
    seen = Refusals()
    for _ in range(60):
        seen.call()
    seen.call(refused=True, wait_s=0.2)
    assert seen.estimate() is None
    assert seen.estimate(header_limit=300) is None, "one rejection is not evidence"
    for _ in range(7):
        seen.call(refused=True, wait_s=0.25)
    assert seen.estimate() == 240
    assert seen.estimate(header_limit=300) == 300
    assert seen.estimate(header_limit=30) == 240, (
        "more was admitted in a minute: the header is about a shorter time"
    )
    seen.evidence.clear()
    assert seen.estimate() is None


@given(calls=st.integers(1, 7), wait_s=st.none() | st.floats(1, 5))
def test_c4_refusals_below_the_learned_rate_contradict_it(calls: int, wait_s: float | None) -> None:
    limit, now_ms, refusals = known(240, first_per_minute=240.0), 1000, 0
    while alive(limit, now_ms):
        began_ms = limit.grows_from_ms + 1500
        now_ms, refusals = began_ms + 20, refusals + 1
        limit = refused(
            replace(limit, calls=calls + 1), Refusal(at_ms=now_ms, began_ms=began_ms, retry_after_s=wait_s)
        )
    assert refusals <= 4
    assert limit.per_minute >= 240 * 0.4 / 2
    assert dropped(limit, now_ms + 60_000), "nothing is learned at once again"
    assert not dropped(limit, now_ms + 600_000)


def test_c4_a_wait_of_hours_is_not_a_limit_per_minute() -> None:
    assert learned_from(Refusal(at_ms=0, began_ms=0, retry_after_s=3600, estimate=60)) is None
    before = known(60, calls=50)
    after = refused(before, Refusal(at_ms=20_000, began_ms=19_000, retry_after_s=3600))
    assert after.per_minute == 60
    assert after.grows_from_ms == 3_620_000, "the rate does not grow meanwhile"


def test_c4_a_learned_limit_expires_without_refusals() -> None:
    assert alive(known(240), 1000 + 599_000)
    assert not alive(known(240), 1000 + 600_000)
    assert alive(known(2), 1000 + 900_000), "twenty calls take longer than that"
    assert not alive(None, 0)


def test_c4_a_refusal_after_an_idle_time_does_not_lower_the_limit() -> None:
    before = known(240, calls=30)
    after = refused(before, Refusal(at_ms=301_000, began_ms=300_900, retry_after_s=0.2))
    assert after.per_minute == 240, "30 calls in five minutes were all that came"


class Reported:
    """Workers that write to one record by compare-and-set."""

    def __init__(self, holders: list[str]) -> None:
        self.accounting = RecordAccounting(Limits(), LEARNED_LEASE_SETTINGS, is_learned=True)
        self.record = QuotaRecord(at_ms=10_000)
        self.numbers = dict.fromkeys(holders, 0)

    def write(self, holder: str, now_ms: int, *refusals: Refusal, spent: int = 0) -> None:
        self.numbers[holder] += 1
        report = LeaseReport(
            holder=holder,
            number=self.numbers[holder],
            spent=((now_ms // 100, spent, 0),) if spent else (),
            refusals=refusals,
        )
        self.record = allocate(self.record, report, self.accounting, now_ms).record


@given(order=st.permutations(["a", "b", "c"]), counts=st.tuples(*[st.integers(8, 40)] * 3))
def test_c4_workers_refused_in_one_wave_add_up_their_calls(
    order: list[str], counts: tuple[int, int, int]
) -> None:
    world = Reported(order)
    for number, holder in enumerate(order):
        world.write(
            holder,
            10_050 + 10 * number,
            Refusal(at_ms=10_050, began_ms=10_000, estimate=float(counts[number]), counted=counts[number]),
        )
    assert world.record.learned is not None
    assert world.record.learned.per_minute == sum(counts)


@given(
    moves=st.lists(
        st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 3000), st.integers(0, 9), st.booleans()),
        max_size=40,
    )
)
def test_c4_any_reports_keep_the_record_in_bounds_and_its_limit_in_force(
    moves: list[tuple[str, int, int, bool]],
) -> None:
    world = Reported(["a", "b", "c"])
    now_ms = 10_000
    for holder, later_ms, spent, is_refused in moves:
        now_ms += later_ms
        news = [Refusal(at_ms=now_ms, began_ms=now_ms - 20, retry_after_s=0.2, estimate=300.0)] * is_refused
        world.write(holder, now_ms, *news, spent=spent)
        learned = world.record.learned
        if learned is None:
            continue
        assert learned.calls >= 0
        assert 0.01 <= learned.per_minute <= 1_000_000
        assert learned.refused_ms <= now_ms
        if not alive(learned, now_ms):
            assert world.accounting.gauges(world.record, now_ms) == []
            continue
        (gauge,) = world.accounting.gauges(world.record, now_ms)
        assert gauge.free <= burst(learned)
        if is_refused:
            assert gauge.free <= 0, "the provider has no quota left"
        assert len(world.record.minute) < 700
