"""Rows of the spend history, filtered and summed by the dimensions of a query."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from penstock.contract.ledger.spend import SpendDimension, SpendKey, SpendQuery, SpendRow
from services.ledger.spend.rows import AmountsByKey, add_row, ordered

__all__ = [
    "DAY_S",
    "Grain",
    "Grouping",
    "grouped",
    "month_start_s",
    "next_month_s",
    "period_start_s",
    "summed",
]

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


_month_start_s: Final = lru_cache(maxsize=10_000)(month_start_s)
_STARTS: Final[dict[str, Callable[[int], int]]] = {
    "hour": lambda at_s: at_s // _HOUR_S * _HOUR_S,
    "day": lambda at_s: at_s // DAY_S * DAY_S,
    "month": _month_start_s,
}


def period_start_s(grain: Grain, at_s: int) -> int:
    """The beginning of the UTC hour, day or month of `at_s`."""
    return _STARTS[grain](at_s)


def summed(rows: Iterable[SpendRow], key_of: Callable[[SpendKey], SpendKey]) -> tuple[SpendRow, ...]:
    """The sums of the rows whose keys become equal, in the order of the keys."""
    sums: AmountsByKey = {}
    for row in rows:
        add_row(sums, key_of(row.key), row.amounts)
    return ordered(sums)


class Grouping:
    """Sums of rows by the dimensions of a query, and the users among whom they are divided."""

    def __init__(self, query: SpendQuery) -> None:
        self._query = query
        self._key_of = _key_of_group(query.by)
        self._sums: AmountsByKey = {}
        self.users: set[tuple[str, str]] = set()
        """Each with its account; a request without a user has none."""

    def add(self, rows: Iterable[SpendRow]) -> None:
        """Add the rows that are in the period and pass the filters of the query."""
        query = self._query
        self.add_selected(row for row in rows if _is_wanted(row.key, query))

    def add_selected(self, rows: Iterable[SpendRow]) -> None:
        """Add rows that an owner has selected and grouped by at least the same dimensions, accounts and users."""
        sums, key_of, users = self._sums, self._key_of, self.users
        for row in rows:
            if row.key.user:
                users.add((row.key.account, row.key.user))
            add_row(sums, key_of(row.key), row.amounts)

    def rows(self) -> tuple[SpendRow, ...]:
        return ordered(self._sums)


def grouped(rows: Iterable[SpendRow], query: SpendQuery) -> tuple[SpendRow, ...]:
    """The rows of the period and filters of `query`, summed by its dimensions, in the order of the keys."""
    grouping = Grouping(query)
    grouping.add(rows)
    return grouping.rows()


def _is_wanted(key: SpendKey, query: SpendQuery) -> bool:
    return (
        query.since_s <= key.start_s < query.until_s
        and query.account in {"", key.account}
        and query.user in {"", key.user}
    )


def _key_of_group(by: tuple[SpendDimension, ...]) -> Callable[[SpendKey], SpendKey]:
    grain = next((grain for grain in _TIMES if grain in by), None)
    start_of = None if grain is None else _STARTS[grain]

    account, user, key, role, model = (each in by for each in ("account", "user", "key", "role", "model"))

    def key_of(of: SpendKey) -> SpendKey:
        return SpendKey(
            0 if start_of is None else start_of(of.start_s),
            of.account if account else "",
            of.user if user else "",
            of.key if key else "",
            of.role if role else "",
            of.model if model else "",
        )

    return key_of
