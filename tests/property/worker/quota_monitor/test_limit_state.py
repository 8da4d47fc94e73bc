"""C7: forecast, threshold, history and advice of the quota monitor, for every course of usage."""

from __future__ import annotations

from itertools import pairwise
from math import inf

from hypothesis import assume, given
from hypothesis import strategies as st

from penstock.contract.presence import LimitStatus, PastUsage
from penstock.runtime.config.degradation import QuotaWarning
from penstock.runtime.text.limit_advice import advice, times_the_limit
from services.worker.quota_monitor.limit_state import LimitHistory, ThresholdAlarm, Trend

LOOKBACK_S, HORIZON_S = 60.0, 60.0
COURSES = st.lists(st.tuples(st.sampled_from([0.5, 1.0, 2.0, 5.0, 30.0]), st.integers(0, 100)), max_size=80)


def trend_of(course: list[tuple[float, int]]) -> Trend:
    trend = Trend(LOOKBACK_S, HORIZON_S)
    now_s = 1000.0
    for step_s, used in course:
        now_s += step_s
        trend.add(used, now_s)
    return trend


def full_in_s(trend: Trend, used: int, allowed: int) -> float:
    found = trend.full_in_s(used, allowed)
    return inf if found is None else found


@given(COURSES, st.integers(0, 120), st.integers(0, 120), st.integers(0, 50))
def test_c7_the_forecast_is_monotonic_in_limit_and_usage(course, used, allowed, more):
    trend = trend_of(course)
    now = full_in_s(trend, used, allowed)
    assert 0 <= now <= HORIZON_S or now == inf
    assert (now == 0) == (used >= allowed)
    assert full_in_s(trend, used, allowed + more) >= now
    assert full_in_s(trend, used + more, allowed) <= now


@given(st.integers(1, 20), st.integers(20, 50), st.integers(1, 400))
def test_c7_a_steady_rise_is_forecast_exactly(per_s, seconds, left):
    trend = trend_of([(1.0, per_s * each) for each in range(seconds)])
    used = per_s * (seconds - 1)
    expected_s = left / per_s
    found_s = trend.full_in_s(used, used + left)
    assert found_s is None if expected_s > HORIZON_S else abs((found_s or 0) - expected_s) < 1e-6


@given(st.lists(st.integers(0, 1000), max_size=9))
def test_c7_a_short_history_gives_no_forecast(uses):
    assert trend_of([(1.0, used) for used in uses]).full_in_s(0, 10) is None


@given(st.lists(st.integers(0, 100), min_size=20, max_size=60))
def test_c7_usage_that_does_not_rise_is_never_full(uses):
    assert trend_of([(1.0, used) for used in sorted(uses, reverse=True)]).full_in_s(0, 1) is None


@given(COURSES, st.integers(1, 100))
def test_c7_warnings_and_their_ends_alternate_and_do_not_flap(course, allowed):
    settings = QuotaWarning(warn_share=0.9, clear_share=0.8, clear_s=30)
    alarm = ThresholdAlarm(settings)
    now_s, crossings, low_since_s = 1000.0, [], None
    for step_s, used in course:
        now_s += step_s
        low = used / allowed < settings.clear_share
        low_since_s = (low_since_s or now_s) if low else None
        crossing = alarm.update(used, allowed, now_s)
        if crossing == "warned":
            assert used / allowed >= settings.warn_share
        if crossing == "eased":
            assert low_since_s is not None
            assert now_s - low_since_s >= settings.clear_s
        crossings += [crossing] if crossing else []
        assert alarm.state != "eased" or used / allowed < settings.warn_share
    assert all(before != after for before, after in pairwise(crossings))


@given(
    st.lists(st.tuples(st.floats(0, 30), st.integers(0, 20), st.integers(0, 3)), max_size=100), st.booleans()
)
def test_c7_the_history_adds_up(looks, daily):
    history = LimitHistory(daily=daily)
    now_s, began_s = 5000.0, None
    throttled = full_s = 0.0
    for step_s, used, waiting in looks:
        now_s += step_s
        began_s = now_s if began_s is None else began_s
        for _ in range(waiting):
            history.record_throttled(1, now_s)
        throttled += waiting
        full_s += history.sample(used, 10, now_s, near_share=0.9)
    assume(began_s is not None)
    hour, day = history.hour(now_s), history.day(now_s)
    assert day.throttled == throttled
    assert hour.throttled <= day.throttled
    assert abs(day.full_s - full_s) <= 1
    assert day.full_s <= day.near_limit_s <= round(history.watched_s) + 1
    assert history.watched_s <= now_s - began_s + 1e-6
    assert day.peak == max(used for _, used, _ in looks)
    assert day.unmet <= day.throttled
    later = history.day(now_s + 90_000)
    assert later == PastUsage(), "after a day the history is empty"


PASTS = st.builds(
    lambda full, more, throttled, peak, unmet: PastUsage(
        full_s=full, near_limit_s=full + more, throttled=throttled, peak=peak, unmet=unmet if throttled else 0
    ),
    st.integers(0, 3600),
    st.integers(0, 3600),
    st.integers(0, 500),
    st.integers(0, 200),
    st.integers(0, 2000),
)
STATUSES = st.builds(
    lambda hour, allowed, watched, limit: LimitStatus(
        credential="k",
        model="m",
        limit=limit,
        used=0,
        allowed=allowed,
        watched_s=watched,
        hour=hour,
        day=hour,
    ),
    PASTS,
    st.integers(0, 200),
    st.integers(0, 100_000),
    st.sampled_from(["requests_per_minute", "tokens_per_day", "concurrency"]),
)


@given(STATUSES)
def test_c7_advice_is_given_only_on_sufficient_history(status):
    text = advice(status)
    if status.hour.throttled and status.allowed:
        assert "held back" in text
        assert "smaller" not in text
    if "smaller" in text:
        assert not status.hour.throttled
        assert 0 < status.day.peak <= 0.4 * status.allowed
        assert status.watched_s >= 6 * 3600
    if not status.hour.throttled and status.watched_s < 600:
        assert text == "", "the history is too short"
    assert "inf" not in text
    assert "nan" not in text


@given(PASTS, st.integers(1, 100), st.integers(0, 500))
def test_c7_the_advised_limit_covers_the_demand_and_is_monotonic(past, allowed, more):
    times = times_the_limit(past, allowed)
    if past.throttled == 0:
        assert times == 1
        return
    assert times >= 1.5
    assert times * allowed >= past.peak + past.unmet
    worse = PastUsage(throttled=past.throttled, peak=past.peak, unmet=past.unmet + more)
    assert times_the_limit(worse, allowed) >= times


@given(st.floats(11, 5000))
def test_c7_the_time_of_a_suspended_process_does_not_count(suspended_s):
    history = LimitHistory(daily=False)
    history.sample(10, 10, 1000.0, near_share=0.9)
    assert history.sample(10, 10, 1001.0, near_share=0.9) == 1
    assert history.sample(10, 10, 1001.0 + suspended_s, near_share=0.9) == 0
    assert history.watched_s == 1
