"""One limit over one window, as configured and as the provider's headers correct it."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from services.worker.rate_limit.token_bucket import TokenBucket
from services.worker.rate_limit.window import Charge, SlidingWindow

__all__ = ["BELIEVED_S", "DAY_S", "MINUTE_S", "Limit", "Observation"]

MINUTE_S: Final = 60.0
DAY_S: Final = 86_400.0
BELIEVED_S: Final = 600.0
"""How long a provider's word counts when nothing newer is observe. A daily limit that refills steadily (Groq's)
has room long before its `reset`, and only another request can find that out."""


class Observation(Struct, frozen=True, kw_only=True):
    """The provider's word on one limit, from `x-ratelimit-*` headers. None: it did not say."""

    kind: Literal["requests", "tokens"]
    window: Literal["minute", "day"]
    """Groq's request headers are per day and its token headers per minute; OpenAI's are both per minute."""
    limit: int | None = None
    remaining: int | None = None
    reset_s: float | None = None
    """Seconds until the whole limit is free again."""


class Limit:
    """Configured limit, window, and the provider's last word on both.

    The word only ever lowers what is left: a `remaining` below ours withholds the difference (somebody
    else uses the credential, or our estimates were low), a `limit` below ours replaces it. A newer word
    replaces an older one, and both lapse. Instants must not run backwards.
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
            self._lapse(now_s)
        return self._window.used(now_s) + self._withheld + amount <= self._ceiling

    def fits_at_s(self, amount: int, now_s: float) -> float:
        """The earliest instant at which `amount` fits if nothing is charged until then, or at which it is
        worth looking again because the provider's word on the limit lapses; infinite if it is more than the
        whole limit in force.
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

    def observe(self, word: Observation, now_s: float) -> None:
        """Take in what the provider said just now. A limit of nothing is taken for a malformed header."""
        if word.limit is not None and word.limit > 0:
            self._set_ceiling(min(word.limit, self._configured), now_s)
            self._ceiling_until_s = now_s + BELIEVED_S
        if word.remaining is not None:
            left = self._ceiling - self._window.used(now_s)
            self._withheld = max(0, left - max(0, word.remaining))
            longest_s = min(self._span_s, BELIEVED_S)
            believed_s = longest_s if word.reset_s is None else min(word.reset_s, longest_s)
            self._withheld_until_s = now_s + believed_s

    def used(self, now_s: float) -> int:
        """What is not free: charged by us, or withheld on the provider's word."""
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

    def _lapse(self, now_s: float) -> None:
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
