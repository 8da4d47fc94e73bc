"""Calendar periods: the hour, day and month that contain a moment, in a time zone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct

__all__ = ["MINUTE_S", "Calendar", "Periods", "UnknownTimeZone", "local_time"]

MINUTE_S: Final = 60
"""Seconds of a minute. Minutes are those of UTC: the offset of every zone in use today is a whole number of minutes."""
HOUR_S: Final = 3600
_MOST_ZONES: Final = 1000
"""Number of names after which the cached zones are forgotten; there are about 600 zones."""
_zones: Final[dict[str, tzinfo]] = {}


class UnknownTimeZone(Exception):
    """This machine has no data for a time zone, so that periods in it cannot be told."""

    def __init__(self, name: str) -> None:
        super().__init__(f"this machine does not know the time zone {name!r}; update the package tzdata")


class Periods(Struct, frozen=True, gc=False):
    """The periods that contain a moment, from their first second to before their last, in Unix seconds."""

    hour_start_s: int
    hour_end_s: int
    day_start_s: int
    day_end_s: int
    month_start_s: int
    month_end_s: int


class Calendar:
    """The periods of recent moments, cached per time zone, so that most questions need no arithmetic of zones."""

    def __init__(self) -> None:
        self._latest: dict[str, Periods] = {}

    def at(self, at_s: int, time_zone: str) -> Periods:
        """The periods in the zone. Raises UnknownTimeZone."""
        latest = self._latest.get(time_zone)
        if latest is not None and latest.hour_start_s <= at_s < latest.hour_end_s:
            return latest
        if len(self._latest) >= _MOST_ZONES:
            self._latest.clear()
        periods = self._latest[time_zone] = _periods_at(at_s, _zone(time_zone))
        return periods


def local_time(at_ms: int, now_ms: int, time_zone: str) -> str:
    """A moment as local time with its offset, such as 07:20:00 UTC, or 2026-12-01 00:00:00 +01:00 if it is not today.

    Raises UnknownTimeZone.
    """
    zone = _zone(time_zone)
    moment, now = _local(at_ms // 1000, zone), _local(now_ms // 1000, zone)
    day = "" if moment.date() == now.date() else f"{moment:%Y-%m-%d} "
    return f"{day}{moment:%H:%M:%S} {moment.isoformat()[19:] if moment.utcoffset() else 'UTC'}"


def _zone(name: str) -> tzinfo:
    zone = _zones.get(name)
    if zone is None:
        if len(_zones) >= _MOST_ZONES:
            _zones.clear()
        zone = _zones[name] = _load(name)
    return zone


def _load(name: str) -> tzinfo:
    """The zone. Policies with an unknown one are refused when they are read, so that only an entry of another machine's
    journal can name one.
    """
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UnknownTimeZone(name) from error


def _periods_at(at_s: int, zone: tzinfo) -> Periods:
    hour_start_s, hour_end_s = _hour_at(at_s, zone)
    today = _local(at_s, zone).date()
    day_start_s, day_end_s = _between(at_s, today, _next_day, _previous_day, zone)
    first = today.replace(day=1)
    month_start_s, month_end_s = _between(at_s, first, _next_month, _previous_month, zone)
    return Periods(hour_start_s, hour_end_s, day_start_s, day_end_s, month_start_s, month_end_s)


def _hour_at(at_s: int, zone: tzinfo) -> tuple[int, int]:
    """The hour on the local clock. A change of the offset divides it, so that a repeated hour is two."""
    offset_s = _offset_s(at_s, zone)
    start_s = at_s - (at_s + offset_s) % HOUR_S
    end_s = start_s + HOUR_S
    if _offset_s(start_s, zone) != offset_s:
        start_s = _first_with(offset_s, start_s, at_s, zone)
    if _offset_s(end_s - 1, zone) != offset_s:
        end_s = _first_with(_offset_s(end_s - 1, zone), at_s, end_s - 1, zone)
    return start_s, end_s


def _first_with(offset_s: int, before_s: int, after_s: int, zone: tzinfo) -> int:
    """The first second with the offset, which begins after `before_s` and holds at `after_s`."""
    while after_s - before_s > 1:
        middle_s = (before_s + after_s) // 2
        if _offset_s(middle_s, zone) == offset_s:
            after_s = middle_s
        else:
            before_s = middle_s
    return after_s


def _between(
    at_s: int, day: date, after: Callable[[date], date], before: Callable[[date], date], zone: tzinfo
) -> tuple[int, int]:
    """The period that begins with a day. A clock that is set back over midnight shows a date twice; the period of the
    second time is the one that has begun.
    """
    while at_s < _midnight_s(day, zone):
        day = before(day)
    while at_s >= _midnight_s(after(day), zone):
        day = after(day)
    return _midnight_s(day, zone), _midnight_s(after(day), zone)


def _midnight_s(day: date, zone: tzinfo) -> int:
    """The beginning of a day. Where the clock skips midnight, it is the moment of the change."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())


def _next_day(day: date) -> date:
    return day + timedelta(days=1)


def _previous_day(day: date) -> date:
    return day - timedelta(days=1)


def _next_month(first: date) -> date:
    return (first + timedelta(days=31)).replace(day=1)


def _previous_month(first: date) -> date:
    return (first - timedelta(days=1)).replace(day=1)


def _local(at_s: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(at_s, zone)


def _offset_s(at_s: int, zone: tzinfo) -> int:
    offset = _local(at_s, zone).utcoffset()
    return int(offset.total_seconds()) if offset is not None else 0
