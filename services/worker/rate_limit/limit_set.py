"""All limits of one (credential, model) together: a request passes every one or is charged to none."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Final

from msgspec import Struct

from penstock.runtime.config.catalogue import Limits
from services.worker.rate_limit.batch_reserve import reserved
from services.worker.rate_limit.learned.bucket import LearnedBucket
from services.worker.rate_limit.limit import DAY_S, MINUTE_S, Limit, LimitName, Observation
from services.worker.rate_limit.pause import HALF_OPEN_FROM_S, PauseState
from services.worker.rate_limit.quota_forecast import KeyForecast, recovery
from services.worker.rate_limit.window import Charge

__all__ = ["CONCURRENCY_RETRY_S", "LimitSet", "LimitUse"]


CONCURRENCY_RETRY_S: Final = 0.1
"""Seconds after which to look again for a free slot: it is free when a call ends, at an unknown time."""


_SPANS_S: Final[dict[LimitName, float]] = {
    "requests_per_minute": MINUTE_S,
    "requests_per_day": DAY_S,
    "tokens_per_minute": MINUTE_S,
    "tokens_per_day": DAY_S,
}


_PER_MINUTE: Final = frozenset({"requests_per_minute", "tokens_per_minute"})


class LimitUse(Struct, frozen=True):
    """How much of one limit is taken, in its own unit (requests, tokens or calls)."""

    name: LimitName
    used: int
    limit: int
    leased: int = 0
    """Part of `used` that workers hold as leases and have not reported as spent."""


class _OpenPermit(Struct):
    """A permit that is not settled yet, and where its tokens were charged."""

    tokens: int
    charges: tuple[tuple[Limit, Charge], ...]


class LimitSet:
    """The limits of one key, its concurrent calls, and its pause."""

    def __init__(self, limits: Limits, number_step: int = 1) -> None:
        """`number_step`: difference between the numbers of permits, from 0 on; negative: they fall."""
        is_bucket = limits.kind == "token_bucket"
        self._named = {
            name: Limit(
                figure, span_s, bucket=is_bucket and name in _PER_MINUTE
            )  # limits per day are windows
            for name, span_s in _SPANS_S.items()
            if (figure := getattr(limits, name)) is not None
        }
        self._requests = tuple(limit for name, limit in self._named.items() if name.startswith("requests"))
        self._tokens = tuple(limit for name, limit in self._named.items() if name.startswith("tokens"))
        self._concurrency = limits.concurrency
        self._open: dict[int, _OpenPermit] = {}
        self._numbers = count(number_step, number_step)
        self._clock_s = float("-inf")
        self._pause_state = PauseState()
        self.learned = LearnedBucket() if limits.is_unlimited else None
        """Limit learned from refusals; None where a limit is configured."""

    def fits(self, tokens: int, now_s: float, reserve: float = 0.0) -> bool:
        """Whether a request of so many tokens would be admitted now.

        `reserve`: the share of each limit per minute and of the concurrency that must stay free all the same.
        """
        now_s = self._advance(now_s)
        if self._pause_state.wait_s(now_s) > 0 or not self._has_slot(reserve):
            return False
        if self.learned is not None:
            return self.learned.limit is None or self.learned.wait_s(now_s) == 0
        if reserve:
            return all(
                limit.fits(amount, now_s) for _, limit, amount in self._amounts(tokens, now_s, reserve)
            )
        for limit in self._requests:
            if not limit.fits(1, now_s):
                return False
        for limit in self._tokens:  # noqa: SIM110 - a generator costs more than the check itself
            if not limit.fits(tokens, now_s):
                return False
        return True

    def admit(self, tokens: int, now_s: float, reserve: float = 0.0) -> int | None:
        """Charge one request of so many tokens: the number to settle it by, or None if it does not fit."""
        learned = self.learned
        if learned is not None and learned.limit is None and self._pause_state.is_open:
            learned.calls.add(now_s)
            return 0
        if not self.fits(tokens, now_s, reserve):
            return None
        now_s = self._clock_s
        if learned is not None:
            learned.spend(now_s)
            if self._pause_state.is_open:
                return 0
        for limit in self._requests:
            limit.charge(1, now_s)
        charges = tuple([(limit, limit.charge(tokens, now_s)) for limit in self._tokens])
        number = next(self._numbers)
        self._open[number] = _OpenPermit(tokens, charges)
        self._pause_state.record_start(number, now_s)
        return number

    def settle(self, number: int, true_tokens: int, now_s: float) -> None:
        """Correct the tokens and free the slot; a second time changes nothing."""
        if true_tokens < 0:
            raise ValueError(f"{true_tokens} is not a valid number of tokens")
        settled = self._open.pop(number, None)
        if settled is None:
            return
        self._pause_state.record_end(number, true_tokens)
        now_s = self._advance(now_s)
        above = true_tokens - settled.tokens
        for limit, charge in settled.charges:
            if above > 0:
                # Charged now and not at the call's start: a late correction still has to fit into a window.
                limit.charge(above, now_s)
            elif above < 0:
                limit.refund(charge, -above, now_s)

    def blocking_limit(self, tokens: int, now_s: float, reserve: float = 0.0) -> tuple[float, LimitName]:
        """When a request of so many tokens should ask again, and which limit blocks it until then."""
        now_s = self._advance(now_s)
        blocking: list[tuple[float, LimitName]] = [(now_s + self._pause_state.wait_s(now_s), "paused")]
        if self.learned is not None and (wait_s := self.learned.wait_s(now_s)) > 0:
            blocking.append((now_s + wait_s, "requests_per_minute"))
        if not self._has_slot(reserve):
            ever = self._concurrency != 0
            blocking.append((now_s + CONCURRENCY_RETRY_S if ever else float("inf"), "concurrency"))
        for name, limit, amount in self._amounts(tokens, now_s, reserve):
            if not limit.fits(amount, now_s):
                blocking.append((limit.fits_at_s(amount, now_s), name))
        return max(blocking)

    def pause(self, until_s: float) -> float:
        """Admit nothing before `until_s`; returns the end of the pause in force, which may be a longer one."""
        if until_s > self._clock_s:
            rate_is_known = self.learned is not None and self.learned.limit is not None
            short = rate_is_known and until_s - self._clock_s < HALF_OPEN_FROM_S
            self._pause_state.pause(until_s, half_open=not short)
        return self._pause_state.until_s

    def refused(self, retry_after_s: float | None, began_s: float, now_s: float) -> None:
        """Learn the rate from a 429, where no limit is configured."""
        if self.learned is not None:
            self.learned.refused(retry_after_s, began_s, self._advance(now_s))

    def observe(self, header: Observation, now_s: float) -> None:
        if self.learned is not None:
            if header.kind == "requests" and header.window == "minute" and header.limit:
                self.learned.observe(header.limit)
            return
        limit = self._named.get(header.limit_name)
        if limit is not None:
            limit.observe(header, self._advance(now_s))

    def usage(self, now_s: float) -> tuple[LimitUse, ...]:
        now_s = self._advance(now_s)
        uses = [LimitUse(name, limit.used(now_s), limit.limit(now_s)) for name, limit in self._named.items()]
        if self._concurrency is not None:
            uses.append(LimitUse("concurrency", len(self._open), self._concurrency))
        return tuple(uses)

    def forecast(self, now_s: float) -> KeyForecast:
        """What will be free when, if nothing more is spent."""
        now_s = self._advance(now_s)
        learned = None if self.learned is None else self.learned.recovery(now_s)
        recoveries = tuple(
            recovery(name, limit.span_s, limit.limit(now_s), limit.used(now_s), limit.returns(now_s))
            for name, limit in self._named.items()
        )
        return KeyForecast(
            recoveries=recoveries if learned is None else (learned,),
            paused_s=self._pause_state.wait_s(now_s),
            concurrency=self._concurrency,
        )

    def _has_slot(self, reserve: float) -> bool:
        most = self._concurrency
        return most is None or len(self._open) + 1 + reserved(most, reserve) <= most

    def _amounts(self, tokens: int, now_s: float, reserve: float) -> Iterator[tuple[LimitName, Limit, int]]:
        """What a request and the reserve together need of each limit."""
        for name, limit in self._named.items():
            amount = tokens if limit in self._tokens else 1
            yield name, limit, amount + (reserved(limit.limit(now_s), reserve) if name in _PER_MINUTE else 0)

    def _advance(self, now_s: float) -> float:
        """The instant to count with: a clock that steps back must admit nothing more."""
        self._clock_s = max(self._clock_s, now_s)
        return self._clock_s
