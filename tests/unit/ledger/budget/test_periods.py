"""F3: budgets begin anew at calendar times of a time zone."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from services.ledger.budget.periods import Calendar, UnknownTimeZone, local_time


def seconds(local: str, zone: str, *, fold: int = 0) -> int:
    return int(datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp())


def test_f3_a_day_is_that_of_the_time_zone():
    at_s = seconds("2026-06-30T23:30:00", "Europe/Berlin")
    periods = Calendar().at(at_s, "Europe/Berlin")
    assert periods.day_start_s == seconds("2026-06-30T00:00:00", "Europe/Berlin")
    assert periods.day_end_s == periods.month_end_s == seconds("2026-07-01T00:00:00", "Europe/Berlin")
    assert Calendar().at(at_s, "").day_end_s == seconds("2026-07-01T00:00:00", "UTC")


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-03-30", 24)])
def test_f3_a_day_of_a_clock_change_has_23_or_25_hours(day: str, hours: int):
    periods = Calendar().at(seconds(f"{day}T12:00:00", "Europe/Berlin"), "Europe/Berlin")
    assert periods.day_end_s - periods.day_start_s == hours * 3600


def test_f3_the_repeated_hour_counts_twice():
    first = Calendar().at(seconds("2026-10-25T02:30:00", "Europe/Berlin"), "Europe/Berlin")
    second = Calendar().at(seconds("2026-10-25T02:30:00", "Europe/Berlin", fold=1), "Europe/Berlin")
    assert first.hour_end_s == second.hour_start_s
    assert second.hour_end_s - first.hour_start_s == 7200


def test_f3_an_hour_begins_at_the_full_hour_of_a_zone_with_a_half_hour_offset():
    at_s = seconds("2026-01-05T10:59:59", "Asia/Kolkata")
    periods = Calendar().at(at_s, "Asia/Kolkata")
    assert local_time(periods.hour_start_s * 1000, 0, "Asia/Kolkata") == "2026-01-05 10:00:00 +05:30"
    assert periods.hour_end_s == at_s + 1


def test_f3_a_change_of_half_an_hour_divides_the_hour():
    zone = "Australia/Lord_Howe"
    change = seconds("2026-04-05T02:00:00", "Australia/Lord_Howe", fold=1) - 1800
    before, after = Calendar().at(change - 1, zone), Calendar().at(change, zone)
    assert before.hour_end_s == after.hour_start_s == change
    assert after.hour_end_s == change + 1800


@pytest.mark.parametrize(
    ("local", "end"),
    [
        ("2026-12-31T23:59:59", "2027-01-01T00:00:00"),
        ("2027-02-28T12:00:00", "2027-03-01T00:00:00"),
        ("2028-02-29T23:59:59", "2028-03-01T00:00:00"),
    ],
)
def test_f3_a_month_ends_with_its_last_day(local: str, end: str):
    periods = Calendar().at(seconds(local, "America/New_York"), "America/New_York")
    assert periods.month_end_s == seconds(end, "America/New_York")


def test_f3_a_day_whose_midnight_the_clock_skips_begins_at_the_change():
    zone = "Africa/Cairo"  # 2026-04-24 begins at 01:00
    periods = Calendar().at(seconds("2026-04-24T12:00:00", zone), zone)
    assert local_time(periods.day_start_s * 1000, 0, zone) == "2026-04-24 01:00:00 +03:00"
    assert periods.day_end_s - periods.day_start_s == 23 * 3600


@pytest.mark.parametrize("name", ["Mars/Olympus", "../etc", "/etc/passwd", "Europe"])
def test_an_unknown_time_zone_is_an_error_and_never_utc(name: str):
    for _ in range(2):
        with pytest.raises(UnknownTimeZone, match="does not know the time zone"):
            Calendar().at(1_790_000_000, name)
    with pytest.raises(UnknownTimeZone, match="tzdata"):
        local_time(1_790_000_000_000, 0, name)


def test_time_zones_are_known_without_those_of_the_machine():
    pytest.importorskip("tzdata", reason="an older environment: install the locked packages")
    code = (
        "import zoneinfo; zoneinfo.reset_tzpath(to=[]);"
        "from penstock.runtime.config.budgets.checks import is_time_zone;"
        "from services.ledger.budget.periods import Calendar;"
        "assert is_time_zone('Europe/Berlin') and not is_time_zone('localtime');"
        "print(Calendar().at(1_790_000_000, 'Europe/Berlin').day_start_s)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == Calendar().at(1_790_000_000, "Europe/Berlin").day_start_s


def test_a_calendar_that_goes_back_in_time_still_gives_the_right_period():
    calendar, at_s = Calendar(), seconds("2026-03-01T00:30:00", "Europe/Berlin")
    later = calendar.at(at_s, "Europe/Berlin")
    assert calendar.at(at_s - 3600, "Europe/Berlin").month_end_s == later.month_start_s
    assert calendar.at(at_s, "Europe/Berlin") == later
