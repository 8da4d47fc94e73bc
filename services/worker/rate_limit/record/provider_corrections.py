"""Corrections of the limits by the provider's headers: what a header changes, and which of two corrections counts."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Final

from msgspec.structs import replace

from penstock.contract.quota import QuotaCorrection, QuotaRecord
from services.worker.rate_limit.limit import DAY_S, HEADER_VALID_S, MINUTE_S, Observation

__all__ = ["SeenCeilings", "corrected", "latest"]

_VALID_MS: Final = int(HEADER_VALID_S * 1000)
"""Milliseconds for which a limit in the headers counts."""


def latest(stored: QuotaCorrection, new: QuotaCorrection) -> QuotaCorrection:
    """Order corrections by when the provider sent them, not by when they were written: a retried write may carry an
    old one. The limit and what is left of it are ordered separately, since not every header has both.
    """
    newer = new if new.remaining_reported_ms >= stored.remaining_reported_ms else stored
    return _with_ceiling_of(newer, new if new.ceiling_reported_ms >= stored.ceiling_reported_ms else stored)


def corrected(known: QuotaCorrection, header: Observation, left: int, now_ms: int) -> QuotaCorrection:
    """`known` updated by a header of `now_ms`; `known` itself if nothing changes. `left`: by our own count."""
    found = known
    if header.remaining is not None:
        withheld = max(0, left - max(0, header.remaining))
        valid_s = min(MINUTE_S if header.window == "minute" else DAY_S, HEADER_VALID_S)
        valid_s = min(valid_s, inf if header.reset_s is None else header.reset_s)
        if withheld > 0 or known.withheld > 0:
            until_ms = now_ms + int(valid_s * 1000)
            found = replace(
                found, withheld=withheld, withheld_until_ms=until_ms, remaining_reported_ms=now_ms
            )
    if header.limit is None or header.limit <= 0:
        return found
    expires_soon = known.ceiling_until_ms - now_ms < _VALID_MS // 2
    if header.limit == known.ceiling and not expires_soon and found is known:
        return known
    return _with_ceiling_of(found, _ceiling(known.limit, header.limit, now_ms))


class SeenCeilings:
    """The latest limits in the headers of this worker's own calls.

    A limit that equals the stored one is not written; it is written when an older correction of another worker
    replaces it later.
    """

    def __init__(self) -> None:
        self._seen: dict[str, QuotaCorrection] = {}

    def observe(self, header: Observation, now_ms: int) -> None:
        if header.limit is not None and header.limit > 0:
            self._seen[header.limit_name] = _ceiling(header.limit_name, header.limit, now_ms)

    def superseded_in(self, record: QuotaRecord, now_ms: int) -> Iterator[QuotaCorrection]:
        """Stored corrections older than our own, with our limit in their place."""
        for stored in record.corrections:
            seen = self._seen.get(stored.limit)
            if seen is None or stored.ceiling_until_ms <= now_ms or stored.ceiling == seen.ceiling:
                continue
            if stored.ceiling_reported_ms < seen.ceiling_reported_ms:
                yield _with_ceiling_of(stored, seen)


def _ceiling(limit: str, ceiling: int, now_ms: int) -> QuotaCorrection:
    return QuotaCorrection(
        limit=limit, ceiling=ceiling, ceiling_reported_ms=now_ms, ceiling_until_ms=now_ms + _VALID_MS
    )


def _with_ceiling_of(correction: QuotaCorrection, other: QuotaCorrection) -> QuotaCorrection:
    return replace(
        correction,
        ceiling=other.ceiling,
        ceiling_reported_ms=other.ceiling_reported_ms,
        ceiling_until_ms=other.ceiling_until_ms,
    )
