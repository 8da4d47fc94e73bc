"""Periods of every time zone divide time without gaps."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import hypothesis.strategies as st
from hypothesis import given

from services.ledger.budget.periods import Calendar

ZONES = st.sampled_from(sorted(available_timezones() - {"localtime", "Factory"}))
SECONDS = st.integers(1_000_000_000, 4_000_000_000)
NEAR_MIDNIGHT = st.builds(
    lambda day, offset: day * 86_400 + offset, st.integers(12_000, 45_000), st.integers(-7200, 7200)
)


@given(ZONES, SECONDS | NEAR_MIDNIGHT)
def test_f3_every_moment_is_in_exactly_one_hour_day_and_month(zone: str, at_s: int):
    calendar = Calendar()
    here = calendar.at(at_s, zone)
    for start_s, end_s, neighbours in (
        (here.hour_start_s, here.hour_end_s, "hour"),
        (here.day_start_s, here.day_end_s, "day"),
        (here.month_start_s, here.month_end_s, "month"),
    ):
        assert start_s <= at_s < end_s
        before, after = Calendar().at(start_s - 1, zone), Calendar().at(end_s, zone)
        assert getattr(before, f"{neighbours}_end_s") == start_s
        assert getattr(after, f"{neighbours}_start_s") == end_s
        assert getattr(Calendar().at(end_s - 1, zone), f"{neighbours}_start_s") == start_s


@given(ZONES, SECONDS)
def test_f3_days_and_months_begin_with_a_new_local_date(zone: str, at_s: int):
    here = Calendar().at(at_s, zone)
    for start_s in (here.day_start_s, here.month_start_s):
        first, before = (datetime.fromtimestamp(each, ZoneInfo(zone)) for each in (start_s, start_s - 1))
        assert before.date() < first.date() or before - first > timedelta(0)
    month = datetime.fromtimestamp(here.month_start_s, ZoneInfo(zone))
    assert (month.day, datetime.fromtimestamp(here.month_end_s, ZoneInfo(zone)).day) == (1, 1)
