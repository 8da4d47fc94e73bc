"""Rate limits exactly as configured: fixed windows and token buckets, per (key, model)."""

from __future__ import annotations

import math
from typing import Annotated, Final, Literal, Protocol

from msgspec import Meta, Struct

__all__ = [
    "Account",
    "FixedWindow",
    "Gauge",
    "Limit",
    "LimitName",
    "Refusal",
    "Standing",
    "Ticket",
    "TokenBucket",
]

LimitName = Literal[
    "requests_per_minute", "tokens_per_minute", "requests_per_day", "tokens_per_day", "concurrency"
]
Count = Annotated[int, Meta(ge=1)]
_MINUTES_PER_DAY: Final = 24 * 60
_ROUNDING: Final = 1e-6
"""A bucket this close to the cost has it: who waited as long as told is not sent away by a rounding error."""
_CONCURRENCY_RETRY_S: Final = 1.0
"""Nobody knows when a running request ends; providers say a second."""


class Limit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one key may use of one model. None: no limit."""

    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    requests_per_day: Count | None = None
    tokens_per_day: Count | None = None
    concurrency: Count | None = None
    algorithm: Literal["fixed_window", "token_bucket"] = "fixed_window"
    window_s: Annotated[float, Meta(gt=0)] = 60.0
    """How long a "minute" lasts; a day is 1,440 of them. Tests shorten it."""


class Gauge(Protocol):
    """One limit over time. `now_s` is monotonic seconds and never goes back."""

    limit: int

    def remaining(self, now_s: float) -> float: ...
    def wait_s(self, cost: int, now_s: float) -> float:
        """Seconds until `cost` fits: 0 now, infinite if it never will."""

    def take(self, cost: int, now_s: float) -> float:
        """Charge; returns a mark that `correct` needs to find the charge again."""

    def correct(self, mark: float, change: int, now_s: float) -> None:
        """Charge `change` more (less, if negative) to what was taken at `mark`."""

    def reset_s(self, now_s: float) -> float:
        """Seconds until the whole limit is there again."""


class FixedWindow:
    """A window opens with the first charge and forgets everything when it closes."""

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
    """A full bucket to begin with, refilled evenly: `limit` in each `window_s`."""

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


class Refusal(Struct, frozen=True):
    """Why a request was not admitted."""

    name: LimitName
    limit: int
    used: int
    requested: int
    wait_s: float
    """Infinite: the request is larger than the limit and will never fit."""


class Ticket(Struct, frozen=True):
    """What an admitted request was charged, to be settled once."""

    tokens: int
    marks: tuple[tuple[Gauge, float], ...]
    """The token gauges, with the mark of the charge."""


class Standing(Struct, frozen=True):
    limit: int
    remaining: int
    reset_s: float


class Account:
    """What one key has used of one model."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.in_flight = 0
        gauge = FixedWindow if limit.algorithm == "fixed_window" else TokenBucket
        day_s = limit.window_s * _MINUTES_PER_DAY
        wanted: tuple[tuple[LimitName, int | None, float], ...] = (
            ("requests_per_minute", limit.requests_per_minute, limit.window_s),
            ("requests_per_day", limit.requests_per_day, day_s),
            ("tokens_per_minute", limit.tokens_per_minute, limit.window_s),
            ("tokens_per_day", limit.tokens_per_day, day_s),
        )
        self._gauges: dict[LimitName, Gauge] = {
            name: gauge(most, window_s) for name, most, window_s in wanted if most is not None
        }

    def admit(self, tokens: int, now_s: float) -> Ticket | Refusal:
        """Charge one request and `tokens` to every limit, or to none of them."""
        most = self.limit.concurrency
        if most is not None and self.in_flight >= most:
            return Refusal("concurrency", most, self.in_flight, 1, _CONCURRENCY_RETRY_S)
        costs = [(name, gauge, tokens if "tokens" in name else 1) for name, gauge in self._gauges.items()]
        waits = [(gauge.wait_s(cost, now_s), name, gauge, cost) for name, gauge, cost in costs]
        longest = max(waits, key=lambda row: row[0], default=None)
        if longest is not None and longest[0] > 0:
            wait_s, name, gauge, cost = longest
            used = gauge.limit - int(gauge.remaining(now_s))
            return Refusal(name, gauge.limit, used, cost, wait_s)
        marks = [(name, gauge, gauge.take(cost, now_s)) for name, gauge, cost in costs]
        self.in_flight += 1
        return Ticket(tokens, tuple((gauge, mark) for name, gauge, mark in marks if "tokens" in name))

    def settle(self, ticket: Ticket, tokens: int, now_s: float) -> None:
        """The request is over and used `tokens` in truth."""
        self.in_flight -= 1
        for gauge, mark in ticket.marks:
            gauge.correct(mark, tokens - ticket.tokens, now_s)

    def standing(self, name: LimitName, now_s: float) -> Standing | None:
        gauge = self._gauges.get(name)
        if gauge is None:
            return None
        return Standing(gauge.limit, max(0, int(gauge.remaining(now_s))), gauge.reset_s(now_s))
