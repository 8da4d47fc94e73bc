"""A provider's words on its limits: what one changes, and which of two counts."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Final

from msgspec.structs import replace

from penstock.contract.quota import QuotaCorrection, QuotaRecord
from services.worker.rate_limit.limit import BELIEVED_S, DAY_S, MINUTE_S, Observation
from services.worker.rate_limit.limit_set import LimitName

__all__ = ["SeenCeilings", "corrected", "latest", "named"]

_BELIEVED_MS: Final = int(BELIEVED_S * 1000)


def latest(told: QuotaCorrection, word: QuotaCorrection) -> QuotaCorrection:
    """What was said last counts, and not what was told last: an answer to the writer may have been lost.

    The limit and what is left of it each by itself: not every word has both.
    """
    newer = word if word.said_ms >= told.said_ms else told
    return _with_ceiling_of(newer, word if word.ceiling_said_ms >= told.ceiling_said_ms else told)


def corrected(known: QuotaCorrection, word: Observation, left: int, now_ms: int) -> QuotaCorrection:
    """`known`, with what is said at `now_ms`; `known` itself if that is nothing new. `left`: by our own count."""
    found = known
    if word.remaining is not None:
        withheld = max(0, left - max(0, word.remaining))
        believed_s = min(MINUTE_S if word.window == "minute" else DAY_S, BELIEVED_S)
        believed_s = min(believed_s, inf if word.reset_s is None else word.reset_s)
        if withheld > 0 or known.withheld > 0:
            until_ms = now_ms + int(believed_s * 1000)
            found = replace(found, withheld=withheld, withheld_until_ms=until_ms, said_ms=now_ms)
    if word.limit is None or word.limit <= 0:
        return found
    lapses_soon = known.ceiling_until_ms - now_ms < _BELIEVED_MS // 2
    if word.limit == known.ceiling and not lapses_soon and found is known:
        return known
    return _with_ceiling_of(found, _said(known.limit, word.limit, now_ms))


def named(word: Observation) -> LimitName:
    if word.window == "minute":
        return "requests_per_minute" if word.kind == "requests" else "tokens_per_minute"
    return "requests_per_day" if word.kind == "requests" else "tokens_per_day"


class SeenCeilings:
    """The last limits that this worker was told by the provider. One that repeats what the record says is not
    written there; it is when an older one of another worker comes to stand there after all.
    """

    def __init__(self) -> None:
        self._said: dict[str, QuotaCorrection] = {}

    def observe(self, word: Observation, now_ms: int) -> None:
        if word.limit is not None and word.limit > 0:
            self._said[named(word)] = _said(named(word), word.limit, now_ms)

    def superseded_in(self, record: QuotaRecord, now_ms: int) -> Iterator[QuotaCorrection]:
        """What stands in the record and was said before what we observe, with our word in its place."""
        for told in record.corrections:
            said = self._said.get(told.limit)
            if said is None or told.ceiling_until_ms <= now_ms or told.ceiling == said.ceiling:
                continue
            if told.ceiling_said_ms < said.ceiling_said_ms:
                yield _with_ceiling_of(told, said)


def _said(limit: str, ceiling: int, now_ms: int) -> QuotaCorrection:
    return QuotaCorrection(
        limit=limit, ceiling=ceiling, ceiling_said_ms=now_ms, ceiling_until_ms=now_ms + _BELIEVED_MS
    )


def _with_ceiling_of(word: QuotaCorrection, other: QuotaCorrection) -> QuotaCorrection:
    return replace(
        word,
        ceiling=other.ceiling,
        ceiling_said_ms=other.ceiling_said_ms,
        ceiling_until_ms=other.ceiling_until_ms,
    )
