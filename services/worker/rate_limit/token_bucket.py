"""A token bucket: what is spent of its capacity is refilled continuously (decision 0018).

The level is what is spent and not refilled yet: 0 when the bucket is full of tokens, the capacity when it is empty.
Time is in any one unit, and a rate is per that unit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from math import ceil, inf
from typing import Final, Protocol

from msgspec import Struct

from services.worker.rate_limit.window import Charge

__all__ = [
    "ConstantRefill",
    "Refill",
    "TokenBucket",
    "level_at",
    "reaches_level_at",
    "refill_returns",
    "whole",
]

_ROUNDING: Final = 1e-6
_GRAINS: Final = 120
_FORECAST_AGE_S: Final = 2.0
"""Most seconds between making and reading a forecast: refill that would find the bucket full by then is left out."""


class Refill(Protocol):
    """Refill of a bucket as a function of time."""

    def between(self, start: float, end: float) -> float: ...

    def done_at(self, amount: float, start: float) -> float:
        """When `amount` is refilled, counted from `start`; not too early."""
        ...


class ConstantRefill(Struct, frozen=True):
    rate: float

    def between(self, start: float, end: float) -> float:
        return self.rate * (end - start)

    def done_at(self, amount: float, start: float) -> float:
        return start + amount / self.rate if self.rate > 0 else inf


def level_at(charges: Iterable[tuple[float, float]], refill: Refill, now: float) -> float:
    """The level at `now` after charges of (instant, amount), in order. A charge later than `now` is
    counted in full. An instant may be later than the true one, never earlier, so the level is never too low.
    """
    level, at = 0.0, now
    for instant, amount in charges:
        until = min(instant, now)
        if level > 0:
            level = max(0.0, level - refill.between(at, until))
        level += amount
        at = until
    return max(0.0, level - refill.between(at, now))


def reaches_level_at(
    charges: Sequence[tuple[float, float]], refill: Refill, level: float, now: float
) -> float | None:
    """When the level will be no more than `level` if nothing is charged until then; None: never."""
    if level < 0:
        return None
    at = now
    for stop in (*(instant for instant, _ in charges if instant > now), inf):
        excess = level_at(charges, refill, at) - level
        if excess <= _ROUNDING:
            return at
        pending = sum(amount for instant, amount in charges if instant > at)
        reached = refill.done_at(excess, at)
        if pending <= level and reached <= stop:
            return reached
        at = stop
    return None


def whole(level: float) -> int:
    """In whole units, rounded up except for floating point errors."""
    return ceil(level - _ROUNDING)


def refill_returns(level: float, per_s: float, span_s: float) -> Iterator[tuple[float, int]]:
    """How much more may be spent after how many seconds, over one span: the refill goes on while it is spent."""
    if per_s <= 0:
        return
    began_s = max(0.0, _FORECAST_AGE_S - level / per_s)
    spare, given, second = whole(level) - level, 0, 0
    while second < span_s:
        second += 1
        total = int(spare + per_s * max(0.0, second - began_s) + _ROUNDING)
        if total > given:
            yield float(second), total - given
            given = total


class TokenBucket:
    """One process's count of a bucket, with the interface of `SlidingWindow`. An instant before the latest one
    seen counts as the latest.

    Charges are kept for one span, gathered in grains, so that one of them can be corrected; older ones are one figure.
    """

    __slots__ = ("_base", "_charges", "_clock_s", "_grain_s", "_level", "_refill", "_span_s")

    def __init__(self, capacity: int, span_s: float) -> None:
        self._span_s = span_s
        self._grain_s = span_s / _GRAINS
        self._refill = ConstantRefill(capacity / span_s)
        self._charges: deque[Charge] = deque()
        self._base = (-inf, 0.0)
        """Instant and level of the charges that are older than one span."""
        self._level = 0.0
        self._clock_s = -inf

    def resize(self, capacity: int) -> None:
        """Change the capacity, as a header reports it; the level stays."""
        self._refill = ConstantRefill(capacity / self._span_s)

    def used(self, now_s: float) -> int:
        return whole(self._now(now_s))

    def charge(self, amount: int, now_s: float) -> Charge:
        self._level = self._now(now_s) + amount
        now_s = self._clock_s
        latest = self._charges[-1] if self._charges else None
        if latest is not None and now_s - latest.began_s <= self._grain_s:
            # All of it counts from the latest instant: its refill is late, never early.
            latest.amount += amount
            latest.expires_s = now_s + self._span_s
            return latest
        self._forget_old()
        made = Charge(amount, now_s, now_s + self._span_s)
        self._charges.append(made)
        return made

    def refund(self, charge: Charge, amount: int, now_s: float) -> None:
        """Take `amount` of `charge` back, as if it had not been charged; nothing for a charge older than a span."""
        self._now(now_s)
        if charge.expires_s <= self._clock_s:
            return
        charge.amount -= amount
        self._level = min(self._level, level_at(self._entries(), self._refill, self._clock_s))

    def returns(self, now_s: float) -> Iterator[tuple[float, int]]:
        yield from refill_returns(self._now(now_s), self._refill.rate, self._span_s)

    def falls_to_at_s(self, level: int, now_s: float) -> float:
        left = self._now(now_s)
        if whole(left) <= level:
            return now_s
        return inf if level < 0 else self._refill.done_at(left - level, self._clock_s)

    def _now(self, now_s: float) -> float:
        if now_s > self._clock_s:
            if self._level > 0:
                self._level = max(0.0, self._level - self._refill.between(self._clock_s, now_s))
            self._clock_s = now_s
        return self._level

    def _entries(self) -> list[tuple[float, float]]:
        recent = [(charge.expires_s - self._span_s, float(charge.amount)) for charge in self._charges]
        return [self._base, *recent] if self._base[1] > 0 else recent

    def _forget_old(self) -> None:
        while self._charges and self._charges[0].expires_s <= self._clock_s:
            oldest = self._charges.popleft()
            at_s, level = self._base
            instant = oldest.expires_s - self._span_s
            left = max(0.0, level - self._refill.between(at_s, instant)) if level > 0 else 0.0
            self._base = (instant, left + oldest.amount)
