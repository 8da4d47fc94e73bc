"""The rate that a provider admits, learned from its refusals by additive increase and multiplicative decrease, and
dropped where the refusals do not depend on the rate (decision 0018).

Instants are milliseconds of one clock, rates are requests per minute unless stated otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, inf, isfinite
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from penstock.contract.quota import QuotaLearned

__all__ = [
    "Growth",
    "Refusal",
    "alive",
    "burst",
    "dropped",
    "first_estimate",
    "growth",
    "learned_from",
    "plausible",
    "refused",
]

_DECREASE: Final = 0.95
"""Share of the estimate at which the rate starts after a refusal."""
_LINEAR, _CUBIC = 0.1, 0.02
"""Growth of the rate after one period, as a share of its start: linear at first, and faster the longer no refusal
comes, as when the limit was raised or the estimate was too high (fourfold after five periods)."""
_CALLS_PER_PERIOD: Final = 20
"""Calls in one period, so that a saturated limit refuses about one call in twenty."""
_SHORTEST_PERIOD_MS: Final = 10_000
"""Milliseconds of the shortest period."""
_MOST_PERIODS: Final = 20.0
"""Periods after which the rate stops growing."""
_SOON_PERIODS: Final = 1.5
"""Most periods after which a refusal shows that the rate is too high; a later one follows an idle time or long
growth."""
_ENOUGH: Final = 8
"""Calls between two refusals whose count is an estimate."""
_MOST_CUT: Final = 0.5
"""Share of the estimate below which one refusal does not lower it."""
_CLEARLY_BELOW: Final = 0.98
"""Share of the estimate below which a refusal contradicts it: fewer calls were made than at the refusal before."""
_CONTRADICTS, _CONTRADICTS_ROUGH, _CONFIRMS = 3, 4, 1
"""Doubt that a contradiction adds where the waits suggest a bucket, and where they do not; doubt that a confirmation
takes."""
_MOST_DOUBT: Final = 12
"""Doubt from which on the refusals are not caused by a rate limit: four contradictions, or three where no wait suggests
a bucket, less a third for each confirmation."""
_NEARLY: Final = 0.5
"""Share of the time between two calls below which a wait counts as none."""
_LOWEST: Final = 0.4
"""Share of the first estimate below which the limit is dropped: the refusals are not caused by a rate limit, or the
first estimate was a burst and a later one will be better."""
_DROPPED_MS: Final = 300_000
"""Milliseconds for which nothing is learned after a limit was dropped."""
_NEAR: Final = 0.25
"""Difference, as a share of the estimate, up to which a new count is averaged with it."""
_BURST_S: Final = 2.0
"""Seconds of the rate that may go at once."""
_EXPIRY_MS: Final = 600_000
"""Milliseconds after the last refusal at which a learned limit expires, or `_EXPIRY_PERIODS` if that is later."""
_EXPIRY_PERIODS: Final = 5
"""Periods of a learned limit that must pass before it expires."""
_LEAST, _MOST = 0.01, 1_000_000.0
"""Bounds of an estimate."""
_FAR_BELOW: Final = 0.5
"""Share of what was admitted per minute below which a limit in the headers is not per minute."""
_LONGEST_WAIT_S: Final = 120.0
"""Seconds above which a `Retry-After` does not concern a limit per minute."""


class Refusal(Struct, frozen=True, kw_only=True):
    """A 429."""

    at_ms: int
    began_ms: int
    """When its call began."""
    retry_after_s: float | None = None
    estimate: float | None = None
    """Estimate of the limit, for the case that nothing is learned yet."""
    counted: int = 0
    """Calls of this worker in the minute before its first refusal; 0 for later refusals."""

    @property
    def refill_per_minute(self) -> float | None:
        """Refill of a bucket: a wait of a fraction of a second is at most the time until one more token. Infinite for a
        wait that the provider rounded to 0.
        """
        wait_s = self.retry_after_s
        if wait_s is None or not 0 <= wait_s < 1:
            return None
        return 60.0 / wait_s if wait_s else inf

    @property
    def is_informative(self) -> bool:
        """Whether it concerns a limit per minute."""
        return self.retry_after_s is None or self.retry_after_s <= _LONGEST_WAIT_S


class Growth(Struct, frozen=True):
    """The rate as a function of time while no refusal comes. Implements `Refill`, per millisecond."""

    base: float
    """Per millisecond."""
    from_ms: int
    period_ms: float
    stop: float
    """Periods after which the growth stops."""

    def rate(self, at_ms: float) -> float:
        periods = min(self.stop, max(0.0, at_ms - self.from_ms) / self.period_ms)
        return self.base * _factor(periods)

    def between(self, start: float, end: float) -> float:
        return self._sum(end) - self._sum(start)

    def done_at(self, amount: float, start: float) -> float:
        return start + amount / self.rate(start)

    def _sum(self, at_ms: float) -> float:
        """The integral of the rate from `from_ms` on; before that it does not grow."""
        periods = (at_ms - self.from_ms) / self.period_ms
        grown = min(self.stop, max(0.0, periods))
        total = periods + _LINEAR * grown**2 / 2 + _CUBIC * grown**4 / 4
        total += max(0.0, periods - grown) * (_factor(grown) - 1) if periods > 0 else 0.0
        return self.base * self.period_ms * total


def first_estimate(refills: Iterable[float | None], admitted: int) -> float | None:
    """The first estimate from several refusals; None: too little evidence. `refills`: refill rate by the wait of each;
    `admitted`: calls within a minute.
    """
    found = list(refills)
    known = [refill for refill in found if refill is not None]
    lowest = min(known, default=inf)
    if len(known) == len(found) and isfinite(lowest):
        return _bounded(lowest)
    return float(admitted) if admitted >= _ENOUGH else None


def learned_from(refusal: Refusal, header_limit: int | None = None) -> QuotaLearned | None:
    """The limit after the first evidence; None: not enough."""
    if refusal.estimate is None or not refusal.is_informative:
        return None
    return QuotaLearned(
        per_minute=_bounded(refusal.estimate),
        first_per_minute=_bounded(refusal.estimate),
        kind=_kind(refusal, None),
        measured_from_ms=refusal.at_ms,
        grows_from_ms=_pause_ends_ms(refusal),
        refused_ms=refusal.at_ms,
        reported_per_minute=header_limit,
    )


def plausible(known: QuotaLearned, header_limit: int) -> bool:
    """Whether a limit in the headers may be per minute: headers do not name the span, and a limit far below what was
    admitted concerns a shorter one.
    """
    return header_limit >= _FAR_BELOW * known.per_minute


def refused(known: QuotaLearned, refusal: Refusal) -> QuotaLearned:
    """The limit after one more refusal. A refused call that began before the previous refusal, or that follows it
    without an admitted call, only shows that the bucket is empty.
    """
    if _is_doubted(known):
        return known
    grows_ms = max(known.grows_from_ms, _pause_ends_ms(refusal))
    refused_ms = max(known.refused_ms, refusal.at_ms)
    admitted = known.calls - (refusal.began_ms >= known.measured_from_ms)
    first = _lowered(known.first_per_minute, refusal)
    if not refusal.is_informative or refusal.began_ms < known.refused_ms or admitted < 1:
        return replace(
            known,
            per_minute=_bounded(_first_wave(known, refusal)),
            first_per_minute=first,
            refused_ms=refused_ms,
            grows_from_ms=grows_ms,
            calls=max(0, admitted),
        )
    return replace(
        known,
        per_minute=_bounded(min(_estimate(known, refusal, admitted), _lowered(known.per_minute, refusal))),
        first_per_minute=first,
        kind=_kind(refusal, known),
        measured_from_ms=refusal.at_ms,
        grows_from_ms=_pause_ends_ms(refusal),
        refused_ms=refused_ms,
        calls=0,
        is_measured=True,
        doubt=_doubt(known, refusal, admitted),
    )


def _first_wave(known: QuotaLearned, refusal: Refusal) -> float:
    """Estimate after a refusal of the first wave, before anything is measured: a bucket refills no faster than the
    longest wait suggests, and calls of several workers add up.
    """
    if known.is_measured or known.reported_per_minute is not None:
        return known.per_minute
    if known.kind == "window":
        return known.per_minute + refusal.counted
    return min(known.per_minute, refusal.refill_per_minute or _MOST)


def _lowered(per_minute: float, refusal: Refusal) -> float:
    """Lower the rate to the refill that a wait suggests, by half at most."""
    refill = refusal.refill_per_minute
    return per_minute if refill is None else min(per_minute, max(refill, per_minute * _MOST_CUT))


def growth(known: QuotaLearned) -> Growth:
    """Growth from the estimate, up to the limit in the headers if there is one."""
    base, stop = known.per_minute * _DECREASE, _MOST_PERIODS
    header_limit = known.reported_per_minute
    if header_limit is not None:
        base = float(header_limit) if known.per_minute >= header_limit else base
        stop = _periods_to(header_limit / base)
    return Growth(base / 60_000, known.grows_from_ms, _period_ms(known), stop)


def burst(known: QuotaLearned) -> int:
    """Calls that may go at once after an idle time: the limit in the headers, else two seconds of the rate."""
    if known.reported_per_minute is not None:
        return known.reported_per_minute
    return max(1, ceil(known.per_minute * _BURST_S / 60))


def alive(known: QuotaLearned | None, at_ms: int) -> bool:
    """Whether the limit is in force: it is neither doubted nor expired."""
    if known is None or _is_doubted(known):
        return False
    return at_ms < known.grows_from_ms + max(_EXPIRY_MS, _EXPIRY_PERIODS * _period_ms(known))


def dropped(known: QuotaLearned | None, at_ms: int) -> bool:
    """Whether refusals contradicted the limit lately, so that nothing is learned now."""
    if known is None or not _is_doubted(known):
        return False
    return at_ms < known.refused_ms + _DROPPED_MS


def _is_doubted(known: QuotaLearned) -> bool:
    return known.doubt >= _MOST_DOUBT or known.per_minute < _LOWEST * known.first_per_minute


def _doubt(known: QuotaLearned, refusal: Refusal, admitted: int) -> int:
    """Doubt after this refusal. A call that came nearly in time contradicts nothing."""
    expected = min(known.per_minute, known.reported_per_minute or _MOST)
    rate = growth(known).rate(refusal.at_ms) * 60_000
    if rate >= expected and admitted >= _ENOUGH:
        return max(0, known.doubt - _CONFIRMS)
    wait_s = refusal.retry_after_s
    if (refusal.refill_per_minute or _MOST) < known.per_minute:
        return known.doubt  # the estimate was too high
    in_time = wait_s is not None and wait_s < _NEARLY * 60 / known.per_minute
    is_early = admitted < _ENOUGH or rate < _CLEARLY_BELOW * expected
    weight = _CONTRADICTS if known.kind == "token_bucket" else _CONTRADICTS_ROUGH
    return known.doubt + (weight if is_early and not in_time else 0)


def _estimate(known: QuotaLearned, refusal: Refusal, admitted: int) -> float:
    span_ms = max(1, refusal.at_ms - known.measured_from_ms)
    counted = admitted * 60_000 / span_ms
    most = growth(known).rate(refusal.at_ms) * 60_000
    if refusal.at_ms - known.grows_from_ms > _SOON_PERIODS * _period_ms(known):
        return max(known.per_minute, min(counted, most))
    if admitted < _ENOUGH:
        # With so few calls, those that other workers have not reported yet are missing: the limit is not lower than
        # the share that all but one of the calls had.
        bound = min(refusal.refill_per_minute or _MOST, (admitted + 1) * 60_000 / span_ms)
        return max(known.per_minute * admitted / (admitted + 1), min(bound, most))
    if abs(counted - known.per_minute) < _NEAR * known.per_minute:
        counted = (2 * known.per_minute + counted) / 3
    return max(known.per_minute * _MOST_CUT, min(counted, most))


def _factor(periods: float) -> float:
    return 1 + _LINEAR * periods + _CUBIC * periods**3


def _periods_to(factor: float) -> float:
    """After how many periods the rate has grown by `factor`."""
    low, high = 0.0, _MOST_PERIODS
    if factor <= 1:
        return 0.0
    if _factor(high) <= factor:
        return high
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if _factor(middle) <= factor else (low, middle)
    return low


def _period_ms(known: QuotaLearned) -> float:
    return max(_SHORTEST_PERIOD_MS, _CALLS_PER_PERIOD * 60_000 / known.per_minute)


def _pause_ends_ms(refusal: Refusal) -> int:
    return refusal.at_ms + round((refusal.retry_after_s or 0.0) * 1000)


def _kind(refusal: Refusal, known: QuotaLearned | None) -> Literal["window", "token_bucket"]:
    if isfinite(refusal.refill_per_minute or inf):
        return "token_bucket"
    return "window" if known is None else known.kind


def _bounded(per_minute: float) -> float:
    return min(_MOST, max(_LEAST, per_minute))
