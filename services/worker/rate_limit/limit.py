"""One limit over one window, as configured and as the provider's headers correct it."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from services.worker.rate_limit.token_bucket import TokenBucket
from services.worker.rate_limit.window import Charge, SlidingWindow

__all__ = ["DAY_S", "HEADER_VALID_S", "MINUTE_S", "Limit", "LimitName", "Observation"]

LimitName = Literal[
    "requests_per_minute", "tokens_per_minute", "requests_per_day", "tokens_per_day", "concurrency", "paused"
]

MINUTE_S: Final = 60.0
DAY_S: Final = 86_400.0
HEADER_VALID_S: Final = 600.0
"""Seconds for which a header counts when no newer one comes. A daily limit that refills steadily (Groq's) has room
long before its `reset`, and only another request can find that out."""


_NAMES: Final[dict[tuple[str, str], LimitName]] = {
    ("requests", "minute"): "requests_per_minute",
    ("requests", "day"): "requests_per_day",
    ("tokens", "minute"): "tokens_per_minute",
    ("tokens", "day"): "tokens_per_day",
}


class Observation(Struct, frozen=True, kw_only=True):
    """One limit in the provider's `x-ratelimit-*` headers. None: the header is absent."""

    kind: Literal["requests", "tokens"]
    window: Literal["minute", "day"]
    """Groq's request headers are per day and its token headers per minute; OpenAI's are both per minute."""
    limit: int | None = None
    remaining: int | None = None
    reset_s: float | None = None
    """Seconds until the whole limit is free again."""

    @property
    def limit_name(self) -> LimitName:
        return _NAMES[self.kind, self.window]


class Limit:
    """A configured limit, its window, and the latest correction by the provider's headers.

    Headers only lower what is left: a `remaining` below our own count withholds the difference (another program uses
    the credential, or our estimates were low), a `limit` below the configured one replaces it. A newer header replaces
    an older one, and both expire. Instants must not run backwards.
    """

    __slots__ = (
        "_ceiling",
        "_ceiling_until_s",
        "_configured",
        "_span_s",
        "_window",
        "_withheld",
        "_withheld_until_s",
    )

    def __init__(self, limit: int, span_s: float, *, bucket: bool = False) -> None:
        """`bucket`: the limit is a token bucket of that capacity, refilled within the span."""
        self._configured = limit
        self._span_s = span_s
        # A minute is counted exactly; a day in sixty grains, so that it needs no entry per request.
        grain_s = span_s / 60 if span_s > MINUTE_S else 0.0
        self._window = TokenBucket(limit, span_s) if bucket else SlidingWindow(span_s, grain_s)
        self._ceiling = limit
        self._ceiling_until_s = float("inf")
        self._withheld = 0
        self._withheld_until_s = float("inf")

    def fits(self, amount: int, now_s: float) -> bool:
        if now_s >= self._withheld_until_s or now_s >= self._ceiling_until_s:
            self._expire(now_s)
        return self._window.used(now_s) + self._withheld + amount <= self._ceiling

    def fits_at_s(self, amount: int, now_s: float) -> float:
        """The earliest instant at which `amount` fits if nothing is charged until then, or at which a correction of
        the limit expires; infinite if it is more than the whole limit in force.
        """
        if self.fits(amount, now_s):
            return now_s
        level = self._ceiling - amount
        if level < 0:
            return float("inf")
        at_s = self._window.falls_to_at_s(level - self._withheld, now_s)
        if at_s > self._withheld_until_s:
            at_s = max(self._window.falls_to_at_s(level, now_s), self._withheld_until_s)
        return min(at_s, self._ceiling_until_s)

    def charge(self, amount: int, now_s: float) -> Charge:
        return self._window.charge(amount, now_s)

    def refund(self, charge: Charge, amount: int, now_s: float) -> None:
        self._window.refund(charge, amount, now_s)

    def observe(self, header: Observation, now_s: float) -> None:
        """Apply a header that came just now. A limit of 0 is malformed and ignored."""
        if header.limit is not None and header.limit > 0:
            self._set_ceiling(min(header.limit, self._configured), now_s)
            self._ceiling_until_s = now_s + HEADER_VALID_S
        if header.remaining is not None:
            left = self._ceiling - self._window.used(now_s)
            self._withheld = max(0, left - max(0, header.remaining))
            longest_s = min(self._span_s, HEADER_VALID_S)
            valid_s = longest_s if header.reset_s is None else min(header.reset_s, longest_s)
            self._withheld_until_s = now_s + valid_s

    def used(self, now_s: float) -> int:
        """What is not free: charged by us, or withheld because of a header."""
        self.fits(0, now_s)
        return self._window.used(now_s) + self._withheld

    def limit(self, now_s: float) -> int:
        """The limit in force: the configured one, or the provider's if that is lower."""
        self.fits(0, now_s)
        return self._ceiling

    def returns(self, now_s: float) -> list[tuple[float, int]]:
        """In how many seconds how much of what is used is free again."""
        self.fits(0, now_s)
        found = list(self._window.returns(now_s))
        if self._withheld:
            found.append((self._withheld_until_s - now_s, self._withheld))
        return found

    @property
    def span_s(self) -> float:
        return self._span_s

    def _expire(self, now_s: float) -> None:
        if now_s >= self._withheld_until_s:
            self._withheld, self._withheld_until_s = 0, float("inf")
        if now_s >= self._ceiling_until_s:
            self._set_ceiling(self._configured, now_s)
            self._ceiling_until_s = float("inf")

    def _set_ceiling(self, limit: int, now_s: float) -> None:
        self._window.used(now_s)
        self._ceiling = limit
        if isinstance(self._window, TokenBucket):
            self._window.resize(limit)
