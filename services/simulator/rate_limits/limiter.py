"""Exact rate limits per (key, model), by fixed window or token bucket."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Final, Literal, Protocol

from msgspec import Meta, Struct

from services.simulator.behaviour.model_names import ModelName

__all__ = [
    "FixedWindow",
    "LimitCounter",
    "LimitName",
    "LimitState",
    "ModelLimits",
    "RateLimiter",
    "RateLimiters",
    "Rejection",
    "TokenBucket",
    "TokenCharge",
]

LimitName = Literal[
    "requests_per_minute", "tokens_per_minute", "requests_per_day", "tokens_per_day", "concurrency"
]
Count = Annotated[int, Meta(ge=1)]
_MINUTES_PER_DAY: Final = 24 * 60
_ROUNDING: Final = 1e-6
"""Missing tokens that a bucket tolerates, so that a rounding error rejects no request that waited long enough."""
_CONCURRENCY_RETRY_S: Final = 1.0
"""Retry-After for the concurrency limit, as providers send it: the end of a request in flight is unknown."""
_ANY_MODEL: Final = "*"


class ModelLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of one key on one model. None: unlimited."""

    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    requests_per_day: Count | None = None
    tokens_per_day: Count | None = None
    concurrency: Count | None = None
    algorithm: Literal["fixed_window", "token_bucket"] = "fixed_window"
    window_s: Annotated[float, Meta(gt=0)] = 60.0
    """Length of a "minute"; a day is 1,440 of them. Tests shorten it."""


class LimitCounter(Protocol):
    """One limit over time. `now_s` is monotonic seconds and never goes back."""

    limit: int

    def remaining(self, now_s: float) -> float: ...
    def wait_s(self, cost: int, now_s: float) -> float:
        """Seconds until `cost` fits: 0 if it fits now, infinite if it never fits."""

    def take(self, cost: int, now_s: float) -> float:
        """Charge `cost`; returns the mark by which `correct` identifies the charge."""

    def correct(self, mark: float, change: int, now_s: float) -> None:
        """Add `change`, which may be negative, to the charge with that mark."""

    def reset_s(self, now_s: float) -> float:
        """Seconds until the whole limit is available."""


class FixedWindow:
    """A window that opens with the first charge and discards all charges when it closes."""

    def __init__(self, limit: int, window_s: float) -> None:
        self.limit = limit
        self._window_s = window_s
        self._closes_s = -math.inf
        self._used = 0

    def _used_at(self, now_s: float) -> int:
        return self._used if now_s < self._closes_s else 0

    def remaining(self, now_s: float) -> float:
        return max(0, self.limit - self._used_at(now_s))

    def wait_s(self, cost: int, now_s: float) -> float:
        if self._used_at(now_s) + cost <= self.limit:
            return 0.0
        return math.inf if cost > self.limit else self._closes_s - now_s

    def take(self, cost: int, now_s: float) -> float:
        if now_s >= self._closes_s:
            self._closes_s, self._used = now_s + self._window_s, 0
        self._used += cost
        return self._closes_s

    def correct(self, mark: float, change: int, now_s: float) -> None:
        if mark == self._closes_s and now_s < mark:
            self._used = max(0, self._used + change)

    def reset_s(self, now_s: float) -> float:
        return max(0.0, self._closes_s - now_s) if self._used_at(now_s) else 0.0


class TokenBucket:
    """A bucket that starts full and refills evenly with `limit` per `window_s`."""

    def __init__(self, limit: int, window_s: float) -> None:
        self.limit = limit
        self._per_s = limit / window_s
        self._level = float(limit)
        self._at_s = -math.inf

    def remaining(self, now_s: float) -> float:
        if self._at_s == -math.inf:
            return self._level
        return min(float(self.limit), self._level + (now_s - self._at_s) * self._per_s)

    def wait_s(self, cost: int, now_s: float) -> float:
        if cost > self.limit:
            return math.inf
        missing = cost - self.remaining(now_s)
        return missing / self._per_s if missing > _ROUNDING else 0.0

    def take(self, cost: int, now_s: float) -> float:
        self._level, self._at_s = self.remaining(now_s) - cost, now_s
        return now_s

    def correct(self, mark: float, change: int, now_s: float) -> None:  # noqa: ARG002 - a bucket needs no mark
        self.take(change, now_s)
        self._level = min(self._level, float(self.limit))

    def reset_s(self, now_s: float) -> float:
        return (self.limit - self.remaining(now_s)) / self._per_s


class Rejection(Struct, frozen=True):
    """The limit that rejected a request."""

    name: LimitName
    limit: int
    used: int
    requested: int
    wait_s: float
    """Infinite if the request is larger than the limit."""


class TokenCharge(Struct, frozen=True):
    """The charge of an admitted request, to be settled once."""

    tokens: int
    marks: tuple[tuple[LimitCounter, float], ...]
    """The token counters, each with the mark of the charge."""


class LimitState(Struct, frozen=True):
    limit: int
    remaining: int
    reset_s: float


class RateLimiter:
    """All limits of one key on one model."""

    def __init__(self, limits: ModelLimits) -> None:
        self.limits = limits
        self.in_flight = 0
        counter = FixedWindow if limits.algorithm == "fixed_window" else TokenBucket
        day_s = limits.window_s * _MINUTES_PER_DAY
        configured: tuple[tuple[LimitName, int | None, float], ...] = (
            ("requests_per_minute", limits.requests_per_minute, limits.window_s),
            ("requests_per_day", limits.requests_per_day, day_s),
            ("tokens_per_minute", limits.tokens_per_minute, limits.window_s),
            ("tokens_per_day", limits.tokens_per_day, day_s),
        )
        self._counters: dict[LimitName, LimitCounter] = {
            name: counter(limit, window_s) for name, limit, window_s in configured if limit is not None
        }

    def admit(self, tokens: int, now_s: float) -> TokenCharge | Rejection:
        """Charge one request and `tokens` to every limit, or to none of them."""
        limit = self.limits.concurrency
        if limit is not None and self.in_flight >= limit:
            return Rejection("concurrency", limit, self.in_flight, 1, _CONCURRENCY_RETRY_S)
        costs = [
            (name, counter, tokens if "tokens" in name else 1) for name, counter in self._counters.items()
        ]
        waits = [(counter.wait_s(cost, now_s), name, counter, cost) for name, counter, cost in costs]
        longest = max(waits, key=lambda row: row[0], default=None)
        if longest is not None and longest[0] > 0:
            wait_s, name, counter, cost = longest
            used = counter.limit - int(counter.remaining(now_s))
            return Rejection(name, counter.limit, used, cost, wait_s)
        marks = [(name, counter, counter.take(cost, now_s)) for name, counter, cost in costs]
        self.in_flight += 1
        return TokenCharge(
            tokens, tuple((counter, mark) for name, counter, mark in marks if "tokens" in name)
        )

    def settle(self, charge: TokenCharge, tokens: int, now_s: float) -> None:
        """Correct the charge of a finished request to the tokens it used."""
        self.in_flight -= 1
        for counter, mark in charge.marks:
            counter.correct(mark, tokens - charge.tokens, now_s)

    def state(self, name: LimitName, now_s: float) -> LimitState | None:
        counter = self._counters.get(name)
        if counter is None:
            return None
        return LimitState(counter.limit, max(0, int(counter.remaining(now_s))), counter.reset_s(now_s))


class RateLimiters:
    """The limiter of each key and model, made at its first request."""

    def __init__(self, limits: Mapping[str, ModelLimits]) -> None:
        self._limits = dict(limits)
        self._limiters: dict[tuple[str, str], RateLimiter] = {}

    def set_limits(self, changes: Mapping[str, ModelLimits | None]) -> dict[str, ModelLimits]:
        """Change the limits of the named models (None: unlimited) and restart all windows; returns all limits."""
        for model, limits in changes.items():
            if limits is None:
                self._limits.pop(model, None)
            else:
                self._limits[model] = limits
        self.restart()
        return self._limits

    def restart(self) -> None:
        """Restart all windows; a request in flight settles with the limiter that admitted it."""
        self._limiters = {}

    def limiter(self, key: str, name: ModelName) -> RateLimiter | None:
        """The limiter of this key for this model; None if the model is unlimited."""
        if not self._limits:
            return None
        model = name.full if name.full in self._limits else name.base
        limiter = self._limiters.get((key, model))
        if limiter is None:
            limits = self._limits.get(model) or self._limits.get(_ANY_MODEL)
            if limits is None:
                return None
            limiter = self._limiters[key, model] = RateLimiter(limits)
        return limiter
