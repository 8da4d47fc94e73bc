"""C7: the advice in words."""

from __future__ import annotations

import pytest

from penstock.contract.presence import LimitStatus, PastUsage
from penstock.runtime.text.limit_advice import advice, duration

QUIET = PastUsage()


def status(*, hour: PastUsage = QUIET, day: PastUsage = QUIET, **more) -> LimitStatus:
    known = {"limit": "requests_per_minute", "used": 0, "allowed": 30, "watched_s": 90_000}
    return LimitStatus(credential="k", model="m", hour=hour, day=day, **(known | more))


def test_c7_advice_states_how_far_to_raise_a_limit_that_delayed_requests():
    busy = PastUsage(full_s=1320, near_limit_s=1400, throttled=140, peak=30, unmet=28)
    assert advice(status(hour=busy, day=busy)) == (
        "requests/min of m was full for 22 min of the last 60 min; 140 requests were held back or went elsewhere: "
        "about twice the limit would have served them at once."
    )


def test_c7_a_short_observation_is_not_called_an_hour():
    busy = PastUsage(full_s=12, throttled=1, peak=30, unmet=1)
    text = advice(status(hour=busy, day=busy, watched_s=45))
    assert "full for 12 s of the last 45 s; 1 request was held back" in text
    assert "one and a half times the limit would" in text


def test_c7_the_day_is_reported_when_the_hour_was_quiet():
    text = advice(status(day=PastUsage(full_s=9000, throttled=3, peak=30, unmet=60), watched_s=86_400))
    assert "full for 2 h of the last 24 h" in text
    assert "about 3 times the limit" in text


def test_c7_a_nearly_full_limit_is_reported_before_requests_wait():
    near = PastUsage(near_limit_s=700, peak=28)
    assert advice(status(hour=near, day=near)) == (
        "requests/min of m was nearly full for 12 min of the last 60 min, and no request had to wait: "
        "raise it before there is more to do."
    )


def test_c7_a_hardly_used_limit_may_be_smaller():
    assert advice(status(day=PastUsage(peak=9))) == (
        "requests/min of m: at most 30% used in the last 24 h; a smaller tier would do."
    )
    assert advice(status(day=PastUsage(peak=9), watched_s=3600)) == "", "an hour says nothing of a day"
    assert advice(status(day=QUIET)) == "", "an unused limit needs no advice"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (119, "119 s"), (1320, "22 min"), (86_400, "24 h")]
)
def test_durations_use_the_largest_unit_with_at_least_two(seconds, text):
    assert duration(seconds) == text
