"""Spend that has been settled and is not yet in the history: one row per UTC hour, account, user, key, role, model."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from itertools import groupby
from typing import Final

import msgspec
from msgspec import Struct

from penstock.contract.ledger.journal import Settled
from penstock.contract.ledger.spend import SpendAmounts, SpendKey, SpendRow

__all__ = [
    "HOUR_S",
    "AmountsByKey",
    "Pack",
    "SpendRows",
    "add_amounts",
    "add_row",
    "decode_rows",
    "encode_rows",
    "ordered",
    "settled_row",
]

HOUR_S: Final = 3_600
_PACKED_ROWS: Final = 2_048
"""Rows in memory as objects (500 bytes each); more are packed (about 30 bytes each)."""
_LEVEL: Final = 1
"""Of zlib: level 6 takes four times as long for 15% less."""
AmountsByKey = dict[SpendKey, SpendAmounts]
_decoder: Final = msgspec.json.Decoder(tuple[SpendRow, ...])


def add_amounts(to: SpendAmounts, more: SpendAmounts) -> None:
    """Add each field of `more` to `to`."""
    to.requests += more.requests
    to.attempts += more.attempts
    to.input_tokens += more.input_tokens
    to.output_tokens += more.output_tokens
    to.cached_input_tokens += more.cached_input_tokens
    to.reasoning_tokens += more.reasoning_tokens
    to.picousd += more.picousd
    to.saved_by_cache_picousd += more.saved_by_cache_picousd
    to.saved_by_routing_picousd += more.saved_by_routing_picousd
    to.estimated_attempts += more.estimated_attempts
    to.unpriced_attempts += more.unpriced_attempts


def add_row(sums: AmountsByKey, key: SpendKey, amounts: SpendAmounts) -> None:
    """Add amounts to the sum of their key; `amounts` itself stays as it is."""
    before = sums.get(key)
    if before is None:
        sums[key] = msgspec.structs.replace(amounts)
    else:
        add_amounts(before, amounts)


def settled_row(entry: Settled) -> SpendRow:
    """The row of one settlement alone."""
    hour_s = entry.at_ms // 1000 // HOUR_S * HOUR_S
    used_tokens = entry.input_tokens > 0 or entry.output_tokens > 0
    return SpendRow(
        SpendKey(hour_s, entry.account, entry.user, entry.key, entry.role, entry.model),
        SpendAmounts(
            requests=int(entry.completed),
            attempts=1,
            input_tokens=entry.input_tokens,
            output_tokens=entry.output_tokens,
            cached_input_tokens=entry.cached_input_tokens,
            reasoning_tokens=entry.reasoning_tokens,
            picousd=entry.picousd,
            saved_by_cache_picousd=entry.saved_by_cache_picousd,
            saved_by_routing_picousd=entry.saved_by_routing_picousd,
            estimated_attempts=int(entry.estimated),
            unpriced_attempts=int(used_tokens and not entry.priced),
        ),
    )


def encode_rows(rows: Iterable[SpendRow]) -> bytes:
    return zlib.compress(msgspec.json.encode(tuple(rows)), _LEVEL)


def decode_rows(data: bytes) -> tuple[SpendRow, ...]:
    """Raises ValueError for anything that `encode_rows` did not make."""
    try:
        return _decoder.decode(zlib.decompress(data))
    except (zlib.error, msgspec.DecodeError) as error:
        raise ValueError(f"not rows of the spend history: {error}") from error


class Pack(Struct, frozen=True, array_like=True):
    """Rows of one hour in the form in which they are stored."""

    hour_s: int
    data: bytes

    def rows(self) -> tuple[SpendRow, ...]:
        """Raises ValueError for anything that `encode_rows` did not make."""
        return decode_rows(self.data)


class SpendRows:
    """The rows of one partition since its last snapshot.

    Only the newest rows are objects; older ones are packed, so that the rows of 100,000 users take about 4 MB. A key
    may be in several packs: it is summed when the rows are read.
    """

    def __init__(self, packs: Iterable[Pack] = ()) -> None:
        self._newest: AmountsByKey = {}
        self._packs = list(packs)

    def __bool__(self) -> bool:
        return bool(self._newest or self._packs)

    def add(self, entry: Settled) -> None:
        row = settled_row(entry)
        sums = self._newest.get(row.key)
        if sums is not None:
            add_amounts(sums, row.amounts)
            return
        if len(self._newest) >= _PACKED_ROWS:
            self._packs += _packed(self._newest)
            self._newest = {}
        self._newest[row.key] = row.amounts

    def rows(self) -> tuple[SpendRow, ...]:
        """Every row, each key once, in the order of the keys."""
        sums: AmountsByKey = {}
        for pack in self._packs:
            _sum_into(sums, pack.rows())
        _sum_into(sums, ordered(self._newest))
        return ordered(sums)

    def take(self) -> tuple[SpendRow, ...]:
        """Every row, each key once, in the order of the keys; none remains here."""
        rows = self.rows()
        self._newest, self._packs = {}, []
        return rows

    def packs(self) -> tuple[Pack, ...]:
        """All rows in packed form, without the time that it takes to sum them."""
        return (*self._packs, *_packed(self._newest))


def _packed(sums: AmountsByKey) -> list[Pack]:
    """A pack for each hour."""
    hours = groupby(ordered(sums), lambda row: row.key.start_s)
    return [Pack(hour_s, encode_rows(rows)) for hour_s, rows in hours]


def _sum_into(sums: AmountsByKey, rows: Iterable[SpendRow]) -> None:
    for row in rows:
        add_row(sums, row.key, row.amounts)


def ordered(sums: AmountsByKey) -> tuple[SpendRow, ...]:
    """The rows in the order of their keys."""
    return tuple(SpendRow(key, sums[key]) for key in sorted(sums, key=msgspec.structs.astuple))
