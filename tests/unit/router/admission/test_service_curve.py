"""C3: when the n-th queued request starts."""

from __future__ import annotations

from math import inf

import pytest

from services.router.admission.quota_curve import UNLIMITED, QuotaCurve
from services.router.admission.service_curve import TimedQuota, service_curve_of

LUMP = QuotaCurve((0.0, 50.0, 120.0), (10.0, 610.0, 610.0), 10.0)


def quota(supply: QuotaCurve, reported_s: float = 0.0, ready_s: float = 0.0) -> TimedQuota:
    return TimedQuota(supply, reported_s, ready_s)


def test_requests_within_the_free_quota_start_at_once() -> None:
    curve = service_curve_of([quota(LUMP)], 1.0, inf, inf)

    assert curve is not None
    assert curve.start_time_s(10) == 0
    assert curve.start_time_s(11) == 50
    assert curve.start_time_s(610) == 50
    assert curve.start_time_s(620) == pytest.approx(121)


def test_slots_do_not_make_up_for_time_without_quota() -> None:
    curve = service_curve_of([quota(LUMP)], 1.0, 0.0, 10.0)

    assert curve is not None
    assert curve.start_time_s(10) == pytest.approx(1)
    assert curve.start_time_s(60) == pytest.approx(55)


def test_two_quotas_add_up_each_from_its_report_on() -> None:
    one, other = QuotaCurve((0.0, 10.0), (5.0, 10.0)), QuotaCurve((0.0, 10.0), (1.0, 3.0))
    curve = service_curve_of([quota(one, 100.0), quota(other, 102.0)], 1.0, inf, inf)

    assert curve is not None
    assert [curve.start_time_s(n) for n in (5, 6, 7, 11, 12)] == [100, 102, 110, 110, 112]


def test_no_request_starts_before_a_pause_or_breaker_ends() -> None:
    curve = service_curve_of([quota(UNLIMITED, 0.0, 30.0)], 1.0, inf, inf)

    assert curve is not None
    assert curve.start_time_s(1) == 30
    assert curve.start_time_s(10_000) == 30


def test_requests_of_several_calls_use_more_quota() -> None:
    curve = service_curve_of([quota(LUMP)], 2.0, inf, inf)

    assert curve is not None
    assert curve.start_time_s(5) == 0
    assert curve.start_time_s(5.5) == 0, "nine calls of the requests ahead, and its own first call"
    assert curve.start_time_s(6) == 50


def test_a_quota_that_never_recovers_gives_an_infinite_start_time() -> None:
    curve = service_curve_of([quota(QuotaCurve((0.0,), (3.0,)))], 1.0, inf, inf)

    assert curve is not None
    assert curve.start_time_s(3) == 0
    assert curve.start_time_s(4) == inf


def test_without_quotas_there_is_no_curve() -> None:
    assert service_curve_of([], 1.0, inf, inf) is None


def test_free_slots_start_concurrently() -> None:
    curve = service_curve_of([quota(UNLIMITED)], 1.0, 4.0, 2.0)

    assert curve is not None
    assert [curve.start_time_s(n) for n in (1, 4, 5, 6)] == [0, 0, 0.5, 1]


@pytest.mark.parametrize("free_slots", [0.0, 4.0, inf])
def test_started_by_is_the_inverse_of_start_time(free_slots: float) -> None:
    curve = service_curve_of([quota(LUMP, ready_s=1.0)], 1.0, free_slots, 10.0)

    assert curve is not None
    assert curve.started_by(0.5) == 0
    for tenths in range(12, 1400, 7):
        begun = curve.started_by(tenths / 10)
        assert curve.start_time_s(begun - 0.01) <= tenths / 10
        assert curve.start_time_s(begun + 0.01) >= tenths / 10
