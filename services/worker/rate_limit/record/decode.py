"""What is stored of a shared quota, as a record; or no word known, whatever the bytes are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from penstock.bus.log_limits import rate_limited_logger
from penstock.contract import codec
from penstock.contract.quota import QuotaRecord
from services.worker.rate_limit.shared.store_protocol import Stored

__all__ = ["decode_record"]

_log: Final = rate_limited_logger(__name__, by="text")
_LARGEST: Final = 1 << 53
_LATEST_MS: Final = 1 << 42
"""139 years: a record's clock begins with the record."""
_MOST_LEASES: Final = 10_000
_MOST_GRAINS: Final = 100_000


def decode_record(key: str, stored: Stored) -> QuotaRecord | None:
    """None: there is no record, or none that can be believed. It is begun anew, over that entry."""
    if not stored.data:
        return None
    try:
        record = codec.QUOTA.decode(stored.data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        _log.error("the record of %s cannot be read, and is begun anew: %s", key, error)
        return None
    found = _unbelievable(record)
    if found:
        _log.error("the record of %s cannot be believed, and is begun anew: %s", key, found)
        return None
    return record


def _unbelievable(record: QuotaRecord) -> str:
    """What no worker of ours would write; empty: nothing."""
    if len(record.leases) > _MOST_LEASES:
        return f"{len(record.leases)} leases"
    if len(record.minute) + len(record.day) > _MOST_GRAINS:
        return f"{len(record.minute) + len(record.day)} grains"
    if not 0 <= record.at_ms <= _LATEST_MS:
        return "its time"
    wrong = next((number for number in _numbers(record) if not 0 <= number <= _LARGEST), None)
    return "" if wrong is None else "a number below nothing, or beyond 2^53"


def _numbers(record: QuotaRecord) -> Iterator[float]:
    yield record.paused_until_ms
    yield from record.carried or ()
    learned = record.learned
    if learned is not None:
        # What is measured may have begun before the record, whose clock begins with it.
        yield from (abs(learned.measured_from_ms), abs(learned.grows_from_ms), abs(learned.refused_ms))
        yield learned.calls
        yield from (learned.doubt, learned.first_per_minute)
        yield from (learned.per_minute, learned.said_per_minute or 0, learned.tokens_per_minute or 0)
    for grain in (*record.minute, *record.day):
        yield from grain
    for lease in record.leases:
        yield from (lease.number, lease.until_ms, lease.requests, lease.tokens, lease.slots)
        yield from (lease.waits_since_ms or 0, lease.waits_for_tokens)
        yield from (number for _, number in lease.queued or ())
    for word in record.corrections:
        yield from (
            word.said_ms,
            word.ceiling or 0,
            word.ceiling_said_ms,
            word.ceiling_until_ms,
            word.withheld,
            word.withheld_until_ms,
        )
