"""Decode a stored quota record; anything that is not a valid one counts as missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from penstock.bus.log_limits import rate_limited_logger
from penstock.contract import codec
from penstock.contract.quota import QuotaRecord
from services.worker.rate_limit.pause import LONGEST_RETRY_S

__all__ = ["decode_record"]

_log: Final = rate_limited_logger(__name__, by="text")
_LARGEST: Final = 1 << 53
"""Largest valid number."""
_LATEST_MS: Final = 1 << 42
"""Largest valid time, 139 years: a record's clock begins with the record."""
_AHEAD_MS: Final = int(2 * LONGEST_RETRY_S * 1000)
"""Milliseconds after the record's time up to which an instant in it is valid. A pause is the furthest that a worker
writes; it is doubled because the clocks of the writers differ."""
_MOST_LEASES: Final = 10_000
_MOST_GRAINS: Final = 100_000


def decode_record(key: str, data: bytes) -> QuotaRecord | None:
    """None: there is no valid record; a new one replaces that entry."""
    if not data:
        return None
    try:
        record = codec.QUOTA.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        _log.error("the record of %s cannot be decoded and is replaced: %s", key, error)
        return None
    found = _invalid(record)
    if found:
        _log.error("the record of %s is not valid and is replaced: %s", key, found)
        return None
    return record


def _invalid(record: QuotaRecord) -> str:
    """What no worker would write; empty: the record is valid."""
    if len(record.leases) > _MOST_LEASES:
        return f"{len(record.leases)} leases"
    if len(record.minute) + len(record.day) > _MOST_GRAINS:
        return f"{len(record.minute) + len(record.day)} grains"
    if not 0 <= record.at_ms <= _LATEST_MS:
        return "its time"
    grows_ms = 0 if record.learned is None else record.learned.grows_from_ms
    if max(grows_ms, *_instants(record)) > record.at_ms + _AHEAD_MS:
        return f"a pause or another time more than {_AHEAD_MS // 3_600_000} hours ahead"
    wrong = next((number for number in _numbers(record) if not 0 <= number <= _LARGEST), None)
    return "" if wrong is None else "a number below 0 or beyond 2^53"


def _instants(record: QuotaRecord) -> Iterator[float]:
    yield record.paused_until_ms
    for lease in record.leases:
        yield from (lease.until_ms, lease.waits_since_ms or 0)
    for each in record.corrections:
        yield from (
            each.remaining_reported_ms,
            each.ceiling_reported_ms,
            each.ceiling_until_ms,
            each.withheld_until_ms,
        )


def _numbers(record: QuotaRecord) -> Iterator[float]:
    yield from _instants(record)
    yield from record.carried or ()
    learned = record.learned
    if learned is not None:
        # A measurement may have begun before the record, whose clock begins with it.
        yield from (abs(learned.measured_from_ms), abs(learned.grows_from_ms), abs(learned.refused_ms))
        yield learned.calls
        yield from (learned.doubt, learned.first_per_minute)
        yield from (learned.per_minute, learned.reported_per_minute or 0, learned.tokens_per_minute or 0)
    for grains in filter(None, (record.minute, record.day)):
        yield min(map(min, grains))
        yield max(map(max, grains))
    for lease in record.leases:
        yield from (lease.number, lease.requests, lease.tokens, lease.slots, lease.waits_for_tokens)
        yield from (number for _, number in lease.queued or ())
    for correction in record.corrections:
        yield from (correction.ceiling or 0, correction.withheld)
