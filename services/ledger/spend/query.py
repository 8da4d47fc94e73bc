"""The answer to a spend query: the stored history plus what the owners have not written yet."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from msgspec.structs import replace

from penstock.contract.ledger.spend import (
    RecentSpend,
    SpendAmounts,
    SpendDimension,
    SpendQuery,
    SpendReport,
)
from penstock.contract.subjects import LEDGER_PARTITIONS, partition_of
from services.ledger.spend.chunks import Listing
from services.ledger.spend.grouping import Grouping, summed
from services.ledger.spend.history import HistoryChanged, HistoryStore, listing_of, read_chunks
from services.ledger.spend.plan import range_of, wanted
from services.ledger.spend.rows import HOUR_S, add_amounts

__all__ = ["Owners", "answer_query", "report_of"]

_ATTEMPTS: Final = 5
"""Each sum that is stored while a query reads can make it read again."""
_PAUSE_S: Final = 0.2
_WITH_USERS: Final[tuple[SpendDimension, ...]] = ("account", "user")


class Owners(Protocol):
    """The owners of the ledger's partitions."""

    async def recent(self, partitions: Iterable[str], query: SpendQuery) -> Mapping[str, RecentSpend]:
        """Their unwritten spend, grouped as `query` says, without those that do not answer within a second."""


async def answer_query(query: SpendQuery, store: HistoryStore, owners: Owners) -> SpendReport:
    """Raises HistoryChanged when the history changed during each of several attempts, and what the store raises."""
    query = _whole_hours(query)
    by_user = replace(query, by=tuple({*query.by, *_WITH_USERS}))
    for attempt in range(_ATTEMPTS):
        try:
            return await _answer(query, by_user, store, owners)
        except HistoryChanged:
            if attempt == _ATTEMPTS - 1:
                raise
            await asyncio.sleep(_PAUSE_S * attempt)
    raise AssertionError


async def _answer(query: SpendQuery, by_user: SpendQuery, store: HistoryStore, owners: Owners) -> SpendReport:
    numbers = [partition_of(query.account)] if query.account else list(map(str, range(LEDGER_PARTITIONS)))
    recent = await owners.recent(numbers, by_user)
    listing = await listing_of(store, numbers[0] if query.account else "*")
    since = {partition: answer.since for partition, answer in recent.items()}
    groupings = await asyncio.gather(
        *(_stored(store, listing, partition, query, since.get(partition)) for partition in numbers)
    )
    for partition, grouping in zip(numbers, groupings, strict=True):
        if partition in recent:
            grouping.add_selected(recent[partition].rows)
    missing = tuple(int(partition) for partition in numbers if partition not in recent)
    return await asyncio.to_thread(report_of, groupings, query, missing)


async def _stored(
    store: HistoryStore, listing: Listing, partition: str, query: SpendQuery, through: int | None
) -> Grouping:
    chunks = wanted(listing, partition, range_of(query), through)
    if through is not None and any(chunk.number > through for chunk in chunks):
        raise HistoryChanged(f"partition {partition} has written more since it answered")
    grouping = Grouping(query)
    async for part in read_chunks(store, chunks):
        await asyncio.to_thread(grouping.add, part)
    return grouping


def _whole_hours(query: SpendQuery) -> SpendQuery:
    """The hours of which any part is in the period: the history has no shorter ones."""
    until_s = -(-query.until_s // HOUR_S) * HOUR_S
    return replace(query, since_s=query.since_s // HOUR_S * HOUR_S, until_s=until_s)


def report_of(groupings: Sequence[Grouping], query: SpendQuery, missing: tuple[int, ...] = ()) -> SpendReport:
    """One report on rows that are grouped by the dimensions of `query`, the most expensive first."""
    every = summed(itertools.chain.from_iterable(each.rows() for each in groupings), lambda key: key)
    total = SpendAmounts()
    for row in every:
        add_amounts(total, row.amounts)
    sums = sorted(every, key=lambda row: -row.amounts.picousd) if query.by else []
    kept = tuple(sums[: max(query.limit, 0)])
    return SpendReport(
        rows=kept,
        total=total,
        users=len(set().union(*(each.users for each in groupings))),
        left_out=len(sums) - len(kept),
        missing_partitions=missing,
    )
