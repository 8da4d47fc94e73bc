"""D5: the alarm that starts and ends a degradation, for every order of good and bad calls."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.runtime.config.degradation import OnErrors
from services.worker.degradation.rate_alarm import RateAlarm

TERMS = OnErrors(trigger_share=0.1, clear_share=0.05, window_s=60, min_calls=10, min_duration_s=30)
INTERVAL_S = 2.0
CALLS = st.lists(st.tuples(st.sampled_from([0.0, 0.3, 1.0, 7.0, 45.0]), st.booleans()), max_size=120)


def play(calls: list[tuple[float, bool]]) -> list[tuple[float, bool, list[tuple[float, bool]]]]:
    """After each call: the time, whether the alarm is on, and all calls so far."""
    alarm = RateAlarm(TERMS)
    now_s, past, seen = 1000.0, [], []
    for step_s, bad in calls:
        now_s += step_s
        alarm.observe(bad=bad, now_s=now_s)
        past.append((now_s, bad))
        seen.append((now_s, alarm.on(now_s), list(past)))
    return seen


@given(CALLS)
def test_d5_it_starts_with_enough_calls_of_which_too_many_are_bad(calls):
    before = False
    for now_s, on, past in play(calls):
        if on and not before:
            recent = [bad for at_s, bad in past if at_s > now_s - TERMS.window_s - INTERVAL_S]
            assert len(recent) >= TERMS.min_calls
            assert any(recent)
        certain = [bad for at_s, bad in past if at_s > now_s - TERMS.window_s + INTERVAL_S]
        wider = [bad for at_s, bad in past if at_s > now_s - TERMS.window_s - INTERVAL_S]
        if (
            certain == wider
            and len(certain) >= TERMS.min_calls
            and sum(certain) / len(certain) > TERMS.trigger_share
        ):
            assert on
        before = on


@given(CALLS)
def test_d5_it_does_not_flap(calls):
    """Once on it stays on for `min_duration_s`, and turns off only at a lower share than the one that turned it on."""
    began_s = None
    for now_s, on, past in play(calls):
        if on and began_s is None:
            began_s = now_s
        if not on and began_s is not None:
            assert now_s - began_s >= TERMS.min_duration_s
            recent = [bad for at_s, bad in past if at_s > now_s - TERMS.window_s + INTERVAL_S]
            assert sum(recent) <= TERMS.clear_share * len(past)
            began_s = None


@given(CALLS, st.floats(0, 200))
def test_d5_it_ends_without_further_calls(calls, later_s):
    alarm = RateAlarm(TERMS)
    now_s = 1000.0
    for step_s, bad in calls:
        now_s += step_s
        alarm.observe(bad=bad, now_s=now_s)
    assert not alarm.on(now_s + TERMS.window_s + TERMS.min_duration_s + 2 * INTERVAL_S + later_s)


@given(CALLS)
def test_d5_good_calls_alone_never_start_it(calls):
    assert not any(on for _, on, _ in play([(step_s, False) for step_s, _ in calls]))


@given(CALLS, st.lists(st.floats(-100, 100), min_size=1, max_size=20))
def test_d5_a_clock_that_steps_back_is_tolerated(calls, steps):
    alarm = RateAlarm(TERMS)
    now_s = 1000.0
    for (_, bad), step_s in zip(calls, steps * len(calls), strict=False):
        now_s += step_s
        alarm.observe(bad=bad, now_s=now_s)
        bad_ones, total = alarm.seen(now_s)
        assert 0 <= bad_ones <= total


def raised() -> RateAlarm:
    """An alarm turned on at 1000 s by ten bad calls."""
    alarm = RateAlarm(TERMS)
    for _ in range(10):
        alarm.observe(bad=True, now_s=1000.0)
    assert alarm.on(1000.0)
    return alarm


@given(st.floats(0, 29.9), st.integers(200, 1000))
def test_d5_it_stays_on_for_the_minimum_time(later_s, good):
    alarm = raised()
    for _ in range(good):
        alarm.observe(bad=False, now_s=1000.0 + later_s)
    assert alarm.on(1000.0 + later_s)
    assert not alarm.on(1030.0)


@given(st.integers(0, 400))
def test_d5_it_ends_at_the_lower_share(good):
    alarm = raised()
    for _ in range(good):
        alarm.observe(bad=False, now_s=1031.0)
    assert alarm.on(1031.0) == (10 / (10 + good) > TERMS.clear_share)
