"""All limits of one (credential, model) together: a request passes every one or is charged to none."""

from __future__ import annotations

from itertools import count
from typing import Final, Literal

from msgspec import Struct

from penstock.config.catalogue import Limits
from services.worker.meter import DAY_S, MINUTE_S, Meter, Observation
from services.worker.recovery import Outlook, recovery
from services.worker.window import Charge

__all__ = ["CONCURRENCY_RETRY_S", "Account", "LimitName", "LimitUse"]

LimitName = Literal[
    "requests_per_minute", "tokens_per_minute", "requests_per_day", "tokens_per_day", "concurrency", "paused"
]

CONCURRENCY_RETRY_S: Final = 0.1
"""A place is free when a call ends, and nobody knows when: look again after this long."""


_NAMES: Final[dict[tuple[str, str], LimitName]] = {
    ("requests", "minute"): "requests_per_minute",
    ("requests", "day"): "requests_per_day",
    ("tokens", "minute"): "tokens_per_minute",
    ("tokens", "day"): "tokens_per_day",
}


class LimitUse(Struct, frozen=True):
    """How much of one limit is taken, in its own unit (requests, tokens or calls)."""

    name: LimitName
    used: int
    limit: int


class _Open(Struct):
    """A permit that was not settled yet, and where its tokens were charged."""

    tokens: int
    charges: tuple[tuple[Meter, Charge], ...]


class Account:
    """The meters of one key, its concurrent calls, and its pause."""

    def __init__(self, limits: Limits) -> None:
        requests = _meters(
            {
                "requests_per_minute": (limits.requests_per_minute, MINUTE_S),
                "requests_per_day": (limits.requests_per_day, DAY_S),
            }
        )
        tokens = _meters(
            {
                "tokens_per_minute": (limits.tokens_per_minute, MINUTE_S),
                "tokens_per_day": (limits.tokens_per_day, DAY_S),
            }
        )
        self._named = {**requests, **tokens}
        self._requests = tuple(requests.values())
        self._tokens = tuple(tokens.values())
        self._concurrency = limits.concurrency
        self._open: dict[int, _Open] = {}
        self._numbers = count(1)
        self._clock_s = float("-inf")
        self._paused_until_s = float("-inf")
        self.pause_reason = ""
        self._unlimited = not self._named and self._concurrency is None

    def has_room(self, tokens: int, now_s: float) -> bool:
        """Whether a request of so many tokens would be admitted now."""
        now_s = self._advance(now_s)
        if now_s < self._paused_until_s:
            return False
        if self._concurrency is not None and len(self._open) >= self._concurrency:
            return False
        for meter in self._requests:
            if not meter.fits(1, now_s):
                return False
        for meter in self._tokens:  # noqa: SIM110 - a generator costs more than the check itself
            if not meter.fits(tokens, now_s):
                return False
        return True

    def admit(self, tokens: int, now_s: float) -> int | None:
        """Charge one request of so many tokens: the number to settle it by, or None if there is no room."""
        if not self.has_room(tokens, now_s):
            return None
        if self._unlimited:
            return 0
        now_s = self._clock_s
        for meter in self._requests:
            meter.charge(1, now_s)
        charges = tuple([(meter, meter.charge(tokens, now_s)) for meter in self._tokens])
        number = next(self._numbers)
        self._open[number] = _Open(tokens, charges)
        return number

    def settle(self, number: int, true_tokens: int, now_s: float) -> None:
        """Correct the tokens and free the place; nothing if that was done before."""
        if true_tokens < 0:
            raise ValueError(f"a use of {true_tokens} tokens")
        settled = self._open.pop(number, None)
        if settled is None:
            return
        now_s = self._advance(now_s)
        above = true_tokens - settled.tokens
        for meter, charge in settled.charges:
            if above > 0:
                # Charged now and not back then: what is known late still has to be kept out of a window.
                meter.charge(above, now_s)
            elif above < 0:
                meter.refund(charge, -above, now_s)

    def obstacle(self, tokens: int, now_s: float) -> tuple[float, LimitName]:
        """When a request of so many tokens should ask again, and what keeps it until then."""
        now_s = self._advance(now_s)
        obstacles: list[tuple[float, LimitName]] = [(self._paused_until_s, "paused")]
        if self._concurrency is not None and len(self._open) >= self._concurrency:
            some_day = self._concurrency > 0
            obstacles.append((now_s + CONCURRENCY_RETRY_S if some_day else float("inf"), "concurrency"))
        for name, meter in self._named.items():
            amount = tokens if meter in self._tokens else 1
            if not meter.fits(amount, now_s):
                obstacles.append((meter.fits_at_s(amount, now_s), name))
        return max(obstacles)

    def pause(self, until_s: float, why: str) -> None:
        if until_s > self._paused_until_s:
            self._paused_until_s = until_s
            self.pause_reason = why

    def heard(self, observation: Observation, now_s: float) -> None:
        meter = self._named.get(_NAMES[observation.kind, observation.window])
        if meter is not None:
            meter.heard(observation, self._advance(now_s))

    def usage(self, now_s: float) -> tuple[LimitUse, ...]:
        now_s = self._advance(now_s)
        uses = [LimitUse(name, meter.used(now_s), meter.limit(now_s)) for name, meter in self._named.items()]
        if self._concurrency is not None:
            uses.append(LimitUse("concurrency", len(self._open), self._concurrency))
        return tuple(uses)

    def outlook(self, now_s: float) -> Outlook:
        """What will be free when, if nothing more is spent."""
        now_s = self._advance(now_s)
        return Outlook(
            recoveries=tuple(
                recovery(name, meter.span_s, meter.limit(now_s), meter.used(now_s), meter.returns(now_s))
                for name, meter in self._named.items()
            ),
            paused_s=max(0.0, self._paused_until_s - now_s),
            concurrency=self._concurrency,
        )

    def _advance(self, now_s: float) -> float:
        """The instant to reckon with: a clock that steps back must let nothing more through."""
        self._clock_s = max(self._clock_s, now_s)
        return self._clock_s


def _meters(limits: dict[LimitName, tuple[int | None, float]]) -> dict[LimitName, Meter]:
    return {name: Meter(limit, span_s) for name, (limit, span_s) in limits.items() if limit is not None}
