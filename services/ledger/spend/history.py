"""The stored spend history: deltas are written, periods are summed, and rows are read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Final, Protocol

from msgspec.structs import replace

from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.ledger.spend import SpendRow
from penstock.contract.ledger.spend_address import SpendAddress
from services.ledger.spend.chunks import PART_BYTES, Chunk, Listing, Period, pack
from services.ledger.spend.grouping import Grain, month_start_s, period_start_s
from services.ledger.spend.plan import count_stored, due, of_period, whole
from services.ledger.spend.rows import AmountsByKey, add_row, decode_rows, ordered
from services.ledger.spend.unwritten import Delta

__all__ = ["GRAINS", "HistoryChanged", "HistoryStore", "SpendHistory", "listing_of", "read_chunks"]

_log: Final = rate_limited_logger(__name__)
_PARTS_AT_ONCE: Final = 100
GRAINS: Final[tuple[Grain, ...]] = ("hour", "day", "month")
"""The order in which their subjects are listed: what is no longer in the hours is then in the days."""


class HistoryChanged(Exception):
    """A chunk that was listed is not stored any more: a sum has replaced it. List and read again."""


class HistoryStore(Protocol):
    """Where parts of chunks are stored. Every method may raise an error of NATS or TimeoutError."""

    async def subjects(self, grain: Grain, partition: str) -> Sequence[SpendAddress]:
        """Of all stored parts; partition `*`: of all partitions."""

    async def read(self, addresses: Sequence[SpendAddress]) -> dict[SpendAddress, bytes]:
        """These parts, without those that are not stored any more."""

    async def write(self, address: SpendAddress, data: bytes) -> None:
        """Store a part, or replace the one with this address."""

    async def delete(self, address: SpendAddress) -> None:
        """No error if it does not exist."""


async def listing_of(store: HistoryStore, partition: str = "*") -> Listing:
    """What is stored of a partition; `*`: of all."""
    addresses: list[SpendAddress] = []
    for grain in GRAINS:
        addresses += await store.subjects(grain, partition)
    return Listing(addresses)


async def read_chunks(
    store: HistoryStore, chunks: Iterable[Chunk]
) -> AsyncGenerator[tuple[SpendRow, ...], None]:
    """The rows of these chunks, in the parts in which they are stored; those of a sum begin at the start of its
    period. Raises HistoryChanged, and ValueError for a damaged part.
    """
    addresses = [address for chunk in chunks for address in chunk.addresses()]
    for start in range(0, len(addresses), _PARTS_AT_ONCE):
        wanted = addresses[start : start + _PARTS_AT_ONCE]
        stored = await store.read(wanted)
        for address in wanted:
            if address not in stored:
                raise HistoryChanged(address.subject)
            try:
                yield decode_rows(stored[address])
            except ValueError as error:
                raise ValueError(f"{address.subject}: {error}") from error


class SpendHistory:
    """The history of one partition, as its owner writes it."""

    def __init__(self, store: HistoryStore, partition: str) -> None:
        self._store = store
        self._partition = partition
        self._summed: int | None = None

    async def write(self, delta: Delta) -> None:
        """Store a delta; again is harmless. Raises what the store raises, and then the delta must be written again.

        Nothing is written where a sum shows that an earlier owner has stored it: sums are made of stored deltas only.
        """
        if self._summed is None:
            self._summed = (await listing_of(self._store, self._partition)).summed_through(self._partition)
        if delta.number <= self._summed:
            return
        for hour_s, parts in _parts_by_hour(delta).items():
            chunk = Chunk(Period("hour", hour_s, self._partition), "delta", delta.number, len(parts))
            await self._store_parts(chunk, parts)

    async def compact(self, through: int, now_s: int) -> int:
        """Sum the periods that are due, and delete what their sums replace; returns how many were summed.

        `through`: every delta up to this number is stored. A later call continues where this one
        failed. Raises what the store raises.
        """
        listing = await listing_of(self._store, self._partition)
        stored: list[Period] = []
        failed: set[int] = set()
        for period in due(listing, self._partition, through, now_s):
            month_s = month_start_s(period.start_s)
            if month_s in failed:  # the sum of a day must not be ahead of that of its month
                continue
            try:
                await self._sum(listing, period, through)
                stored.append(period)
            except (HistoryChanged, ValueError) as error:
                failed.add(month_s)
                _log.error(
                    "the spend of the %s from %d is not summed: %s", period.grain, period.start_s, error
                )
        if stored:
            listing = await listing_of(self._store, self._partition)
        for address in list(listing.replaced(self._partition, through)):
            await self._store.delete(address)
        return len(stored)

    async def _sum(self, listing: Listing, period: Period, through: int) -> None:
        chunks = of_period(listing, period, whole(period), through)
        sums: AmountsByKey = {}
        async for part in read_chunks(self._store, chunks):
            await asyncio.to_thread(_add_to_period, sums, period, part)
        parts = await asyncio.to_thread(lambda: pack(ordered(sums)))
        newest = listing.sum_of(period)
        before = 0 if newest is None else newest.shorter_periods
        shorter = max(before, count_stored(listing, period, through))
        await self._store_parts(Chunk(period, "sum", through, len(parts), shorter), parts)

    async def _store_parts(self, chunk: Chunk, parts: Sequence[bytes]) -> None:
        for address, data in zip(chunk.addresses(), parts, strict=True):
            await self._store.write(address, data)


def _parts_by_hour(delta: Delta) -> dict[int, list[bytes]]:
    """The parts of a delta by the beginning of their hour: its packs, as they are, so that nothing is decoded. The same
    delta gives the same parts.
    """
    hours: dict[int, list[bytes]] = {}
    for each in delta.packs:
        parts = (each.data,) if len(each.data) <= PART_BYTES else pack(each.rows())
        hours.setdefault(each.hour_s, []).extend(parts)
    return hours


def _add_to_period(sums: AmountsByKey, period: Period, rows: Iterable[SpendRow]) -> None:
    """In a thread: the event loop has other work while a large history is summed."""
    for row in rows:
        key = replace(row.key, start_s=period_start_s(period.grain, row.key.start_s))
        add_row(sums, key, row.amounts)
