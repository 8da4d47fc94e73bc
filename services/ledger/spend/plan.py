"""Which chunks answer a query, and which sums are due: pure, from the list of what is stored.

Sums of longer periods are never behind those of shorter ones (`due` sums months before days before hours), so the
deltas after the sum of a month are still deltas.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from penstock.contract.ledger.spend import SpendQuery
from services.ledger.spend.chunks import Chunk, Listing, Period
from services.ledger.spend.grouping import DAY_S, next_month_s
from services.ledger.spend.rows import HOUR_S

__all__ = ["Range", "count_stored", "due", "of_period", "range_of", "wanted", "whole"]

_SETTLED_S: Final = {"hour": HOUR_S // 4, "day": HOUR_S, "month": 3 * DAY_S}
"""Seconds after its end when a period is summed; later settlements are deltas until the next round. Days are summed
early, because a full stream deletes the oldest hours.
"""
_MOST_DELTAS: Final = 60
"""An hour with more deltas is summed before it ends."""


class Range(Struct, frozen=True):
    """A range of time and the longest period that its answer may be made of."""

    since_s: int
    until_s: int
    longest: str = "month"

    def contains(self, period: Period) -> bool:
        return self.since_s <= period.start_s and _end_s(period) <= self.until_s

    def overlaps(self, period: Period) -> bool:
        return period.start_s < self.until_s and _end_s(period) > self.since_s

    def allows(self, grain: str) -> bool:
        return grain in _ALLOWED[self.longest]


_ALLOWED: Final = {"month": ("hour", "day", "month"), "day": ("hour", "day"), "hour": ("hour",)}


def range_of(query: SpendQuery) -> Range:
    """The range of a query; rows of hours where it groups by hour, and so on."""
    longest = next((grain for grain in ("hour", "day") if grain in query.by), "month")
    return Range(query.since_s, query.until_s, longest)


def _end_s(period: Period) -> int:
    if period.grain == "month":
        return next_month_s(period.start_s)
    return period.start_s + (DAY_S if period.grain == "day" else HOUR_S)


def wanted(listing: Listing, partition: str, within: Range, through: int | None) -> list[Chunk]:
    """The chunks whose rows are the spend of a partition in a range, each settlement in exactly one of them.

    `through`: the highest delta number; None: no limit. Where the shorter periods of a sum are not stored any more, the
    sum stands for them, at its beginning.
    """
    return [
        chunk
        for month in listing.months(partition)
        if within.overlaps(month)
        for chunk in of_period(listing, month, within, through)
    ]


def of_period(listing: Listing, period: Period, within: Range, through: int | None) -> Iterator[Chunk]:
    """The same for one hour, day or month that overlaps the range."""
    newest = listing.sum_of(period)
    if newest is not None and _is_best(listing, newest, within):
        yield newest
        yield from _deltas(listing, period, newest.number, within, through)
    elif period.grain == "hour":
        yield from _deltas(listing, period, 0, within, through)
    else:
        for shorter in listing.shorter(period):
            if within.overlaps(shorter):
                yield from of_period(listing, shorter, within, through)


def _is_best(listing: Listing, newest: Chunk, within: Range) -> bool:
    """Whether the sum of a period answers: it lies in the range, and no detail is wanted; or none is left."""
    period = newest.period
    if period.grain == "hour" or (within.allows(period.grain) and within.contains(period)):
        return True
    return count_stored(listing, period, newest.number) < newest.shorter_periods


def count_stored(listing: Listing, period: Period, through: int) -> int:
    """Of how many hours of a day, or days of a month, spend up to the delta `through` is stored."""
    return sum(_is_stored(listing, shorter, through) for shorter in listing.shorter(period))


def _is_stored(listing: Listing, period: Period, through: int) -> bool:
    if listing.sum_of(period) is not None or (
        period.grain == "hour" and listing.deltas_of(period, 0, through)
    ):
        return True
    return any(_is_stored(listing, shorter, through) for shorter in listing.shorter(period))


def _deltas(
    listing: Listing, period: Period, after: int, within: Range, through: int | None
) -> Iterator[Chunk]:
    for hour in listing.hours(period):
        if within.contains(hour):
            yield from listing.deltas_of(hour, after, through)


def due(listing: Listing, partition: str, through: int, now_s: int) -> list[Period]:
    """The periods to sum up to the delta `through`, in this order."""
    months = listing.months(partition)
    days = [day for month in months for day in listing.shorter(month)]
    hours = [hour for day in days for hour in listing.shorter(day)]
    return [period for period in (*months, *days, *hours) if _is_due(listing, period, through, now_s)]


def whole(period: Period) -> Range:
    """The range of one period, without detail."""
    return Range(period.start_s, _end_s(period), period.grain)


def _is_due(listing: Listing, period: Period, through: int, now_s: int) -> bool:
    newest = listing.sum_of(period)
    after = 0 if newest is None else newest.number
    late = list(_deltas(listing, period, after, whole(period), through))
    has_ended = now_s >= _end_s(period) + _SETTLED_S[period.grain]
    if period.grain == "hour" and not has_ended:
        return len(late) >= _MOST_DELTAS
    if newest is None:
        return has_ended and any(of_period(listing, period, whole(period), through))
    return bool(late)
