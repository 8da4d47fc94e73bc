"""The rate that a provider admits, learned from its refusals by additive increase and multiplicative decrease, and
dropped where they do not depend on the rate (decision 0018).

Instants are milliseconds of one clock, rates are requests a minute where nothing else is said.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil
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
"""Share of the estimate at which a new attempt begins."""
_LINEAR, _CUBIC = 0.1, 0.02
"""Increase after one period, as a share of where it began: evenly at first, and ever faster the longer no refusal
came, as where the limit was raised or the estimate was too low (after five periods it is fourfold)."""
_CALLS_EACH: Final = 20
"""A period lasts for so many calls, so that of a saturated limit one call in about twenty is refused ..."""
_SHORTEST_MS: Final = 10_000
"""... and at least for so long."""
_MOST_PERIODS: Final = 20.0
_SOON: Final = 1.5
"""A refusal within so many periods came since the rate is too high; a later one after a lull, or a long increase."""
_ENOUGH: Final = 8
"""Calls between two refusals that make a count of them an estimate."""
_MOST_CUT: Final = 0.5
"""No refusal lowers the estimate below this share of it."""
_CLEARLY_BELOW: Final = 0.98
"""A refusal at a rate below this share of the estimate contradicts it: less was asked than at the refusal before."""
_CONTRADICTS, _CONTRADICTS_ROUGH, _CONFIRMS = 3, 4, 1
_MOST_DOUBT: Final = 12
"""The doubt from which on the refusals are those of no limit: four that contradict, or three where no wait of a bucket
told the estimate, less a third for each one that came above the estimate."""
_NEARLY: Final = 0.5
"""A wait of less than this share of the time between two calls is none."""
_LOWEST: Final = 0.4
"""Share of the first estimate below which the estimate is not believed: refusals that bring it down so far are those of
no limit, or the first estimate was a burst and the next one, of later calls, is better."""
_DROPPED_MS: Final = 300_000
"""How long nothing is learned again."""
_NEAR: Final = 0.25
_BURST_S: Final = 2.0
_LAPSE_MS: Final = 600_000
_LAPSE_PERIODS: Final = 5
_LEAST, _MOST = 0.01, 1_000_000.0
_FAR_BELOW: Final = 0.5
"""A limit in the headers below this share of what was admitted per minute is not one per minute."""
_LONGEST_WAIT_S: Final = 120.0
"""A wait beyond this is no limit per minute: nothing is learned of it."""


class Refusal(Struct, frozen=True, kw_only=True):
    """A 429."""

    at_ms: int
    began_ms: int
    """When its call was made."""
    retry_after_s: float | None = None
    estimate: float | None = None
    """What it tells if nothing is known yet."""
    counted: int = 0
    """Calls of this worker in the minute before its first refusal; 0: not its first."""

    @property
    def refill_per_minute(self) -> float | None:
        """A wait of a fraction of a second is how long a bucket takes to one more token, or what is left of that."""
        wait_s = self.retry_after_s
        return 60.0 / wait_s if wait_s is not None and 0 < wait_s < 1 else None

    @property
    def teaches(self) -> bool:
        return self.retry_after_s is None or self.retry_after_s <= _LONGEST_WAIT_S


class Growth(Struct, frozen=True):
    """The rate as it grows while no refusal comes. Implements `Refill`, per millisecond."""

    base: float
    """Per millisecond."""
    from_ms: int
    period_ms: float
    stop: float
    """Periods after which it grows no more."""

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
    """What the refusals tell together where nothing is known yet; None: too little. `refills`: what the wait of each
    tells; `admitted`: calls within a minute.
    """
    told = list(refills)
    known = [refill for refill in told if refill is not None]
    if known and len(known) == len(told):
        return _bounded(min(known))
    return float(admitted) if admitted >= _ENOUGH else None


def learned_from(refusal: Refusal, said: int | None = None) -> QuotaLearned | None:
    """Where nothing is known yet."""
    if refusal.estimate is None or not refusal.teaches:
        return None
    return QuotaLearned(
        per_minute=_bounded(refusal.estimate),
        first_per_minute=_bounded(refusal.estimate),
        kind=_kind(refusal, None),
        measured_from_ms=refusal.at_ms,
        grows_from_ms=_pause_ends_ms(refusal),
        refused_ms=refusal.at_ms,
        said_per_minute=said,
    )


def plausible(known: QuotaLearned, said: int) -> bool:
    """Whether a limit in the headers may be one per minute: headers do not say of which time it is, and one far below
    what was admitted is of a shorter time.
    """
    return said >= _FAR_BELOW * known.per_minute


def refused(known: QuotaLearned, refusal: Refusal) -> QuotaLearned:
    """A refusal more. That of a call which was under way at the one before teaches nothing but that it came; nor does
    one after which nothing was admitted.
    """
    if _is_doubted(known):
        return known
    grows_ms = max(known.grows_from_ms, _pause_ends_ms(refusal))
    refused_ms = max(known.refused_ms, refusal.at_ms)
    admitted = known.calls - (refusal.began_ms >= known.measured_from_ms)
    first = _lowered(known.first_per_minute, refusal)
    if not refusal.teaches or refusal.began_ms < known.refused_ms or admitted < 1:
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
    """Before anything was measured, each refusal of the first wave betters the guess: a bucket's refill takes at least
    as long as the longest wait that it told; what several workers called until then adds up.
    """
    if known.is_measured or known.said_per_minute is not None:
        return known.per_minute
    if known.kind == "window":
        return known.per_minute + refusal.counted
    return min(known.per_minute, refusal.refill_per_minute or _MOST)


def _lowered(per_minute: float, refusal: Refusal) -> float:
    """A bucket's refill takes at least as long as a wait that it tells; by half at once."""
    refill = refusal.refill_per_minute
    return per_minute if refill is None else min(per_minute, max(refill, per_minute * _MOST_CUT))


def growth(known: QuotaLearned) -> Growth:
    """No more than the headers say, where they do."""
    base, stop = known.per_minute * _DECREASE, _MOST_PERIODS
    said = known.said_per_minute
    if said is not None:
        base = float(said) if known.per_minute >= said else base
        stop = _periods_to(said / base)
    return Growth(base / 60_000, known.grows_from_ms, _period_ms(known), stop)


def burst(known: QuotaLearned) -> int:
    """How many calls may go at once after a lull: unknown, unless the headers name the limit."""
    if known.said_per_minute is not None:
        return known.said_per_minute
    return max(1, ceil(known.per_minute * _BURST_S / 60))


def alive(known: QuotaLearned | None, at_ms: int) -> bool:
    """Whether it is believed: what was refused for the last time so long ago is forgotten."""
    if known is None or _is_doubted(known):
        return False
    return at_ms < known.grows_from_ms + max(_LAPSE_MS, _LAPSE_PERIODS * _period_ms(known))


def dropped(known: QuotaLearned | None, at_ms: int) -> bool:
    """Whether refusals contradicted it a while ago: nothing is learned of them."""
    if known is None or not _is_doubted(known):
        return False
    return at_ms < known.refused_ms + _DROPPED_MS


def _is_doubted(known: QuotaLearned) -> bool:
    return known.doubt >= _MOST_DOUBT or known.per_minute < _LOWEST * known.first_per_minute


def _doubt(known: QuotaLearned, refusal: Refusal, admitted: int) -> int:
    """With this one. A call that is nearly in time contradicts nothing."""
    believed = min(known.per_minute, known.said_per_minute or _MOST)
    rate = growth(known).rate(refusal.at_ms) * 60_000
    if rate >= believed and admitted >= _ENOUGH:
        return max(0, known.doubt - _CONFIRMS)
    wait_s = refusal.retry_after_s
    if (refusal.refill_per_minute or _MOST) < known.per_minute:
        return known.doubt  # the estimate was too high
    in_time = wait_s is not None and wait_s < _NEARLY * 60 / known.per_minute
    is_early = admitted < _ENOUGH or rate < _CLEARLY_BELOW * believed
    weight = _CONTRADICTS if known.kind == "token_bucket" else _CONTRADICTS_ROUGH
    return known.doubt + (weight if is_early and not in_time else 0)


def _estimate(known: QuotaLearned, refusal: Refusal, admitted: int) -> float:
    span_ms = max(1, refusal.at_ms - known.measured_from_ms)
    counted = admitted * 60_000 / span_ms
    most = growth(known).rate(refusal.at_ms) * 60_000
    if refusal.at_ms - known.grows_from_ms > _SOON * _period_ms(known):
        return max(known.per_minute, min(counted, most))
    if admitted < _ENOUGH:
        # Of so few, those that other workers have not told yet would be missed: where one of so many is refused, the
        # limit is not lower than the share of the others.
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
    return max(_SHORTEST_MS, _CALLS_EACH * 60_000 / known.per_minute)


def _pause_ends_ms(refusal: Refusal) -> int:
    return refusal.at_ms + round((refusal.retry_after_s or 0.0) * 1000)


def _kind(refusal: Refusal, known: QuotaLearned | None) -> Literal["window", "token_bucket"]:
    if refusal.refill_per_minute is not None:
        return "token_bucket"
    return "window" if known is None else known.kind


def _bounded(per_minute: float) -> float:
    return min(_MOST, max(_LEAST, per_minute))
