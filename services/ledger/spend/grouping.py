"""Rows of the spend history, filtered and summed by the dimensions of a query."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

from msgspec.structs import replace

from penstock.contract.ledger.spend import SpendDimension, SpendKey, SpendQuery, SpendRow
from services.ledger.spend.rows import AmountsByKey, add_amounts

__all__ = ["DAY_S", "Grain", "grouped", "month_start_s", "next_month_s", "period_start_s", "summed"]

Grain = str
"""`hour`, `day` or `month`."""
DAY_S: Final = 86_400
_HOUR_S: Final = 3_600
_TIMES: Final[tuple[SpendDimension, ...]] = ("hour", "day", "month")


def month_start_s(at_s: int) -> int:
    """The beginning of the UTC month of `at_s`."""
    moment = datetime.fromtimestamp(at_s, UTC)
    return int(datetime(moment.year, moment.month, 1, tzinfo=UTC).timestamp())


def next_month_s(start_s: int) -> int:
    """The beginning of the UTC month after the one that begins at `start_s`."""
    return month_start_s(start_s + 32 * DAY_S)


_STARTS: Final[dict[str, Callable[[int], int]]] = {
    "hour": lambda at_s: at_s // _HOUR_S * _HOUR_S,
    "day": lambda at_s: at_s // DAY_S * DAY_S,
    "month": month_start_s,
}


def period_start_s(grain: Grain, at_s: int) -> int:
    """The beginning of the UTC hour, day or month of `at_s`."""
    return _STARTS[grain](at_s)


def summed(rows: Iterable[SpendRow], key_of: Callable[[SpendKey], SpendKey]) -> tuple[SpendRow, ...]:
    """The sums of the rows whose keys become equal, in the order of the keys."""
    sums: AmountsByKey = {}
    for row in rows:
        key = key_of(row.key)
        before = sums.get(key)
        if before is None:
            sums[key] = replace(row.amounts)
        else:
            add_amounts(before, row.amounts)
    return tuple(SpendRow(key, sums[key]) for key in sorted(sums, key=_order))


def grouped(rows: Iterable[SpendRow], query: SpendQuery) -> tuple[SpendRow, ...]:
    """The rows of the period and filters of `query`, summed by its dimensions and by user."""
    return summed((row for row in rows if _is_wanted(row.key, query)), _key_of_group(query.by))


def _is_wanted(key: SpendKey, query: SpendQuery) -> bool:
    return (
        query.since_s <= key.start_s < query.until_s
        and query.account in {"", key.account}
        and query.user in {"", key.user}
    )


def _key_of_group(by: tuple[SpendDimension, ...]) -> Callable[[SpendKey], SpendKey]:
    grain = next((grain for grain in _TIMES if grain in by), None)
    start_of = None if grain is None else _STARTS[grain]

    def key_of(key: SpendKey) -> SpendKey:
        return SpendKey(
            0 if start_of is None else start_of(key.start_s),
            key.account if "account" in by else "",
            key.user if "user" in by else "",
            key.key if "key" in by else "",
            key.role if "role" in by else "",
            key.model if "model" in by else "",
        )

    return key_of


def _order(key: SpendKey) -> tuple[int, str, str, str, str, str]:
    return (key.start_s, key.account, key.user, key.key, key.role, key.model)
