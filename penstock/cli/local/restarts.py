"""The restart policy of a child process: pure, the clock is an argument."""

from __future__ import annotations

import msgspec

__all__ = ["GiveUp", "Restart", "RestartHistory", "RestartLimits"]


class RestartLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The delay doubles from `first_delay_s` to `longest_delay_s`; running for `reset_after_s` resets it."""

    first_delay_s: float = 0.5
    longest_delay_s: float = 10.0
    reset_after_s: float = 30.0
    deaths_before_ready: int = 5
    """A child that never became ready is given up after this many deaths."""


class Restart(msgspec.Struct, frozen=True):
    delay_s: float
    number: int
    """The number of this restart, from 1."""


class GiveUp(msgspec.Struct, frozen=True):
    deaths: int


class RestartHistory:
    """The starts and deaths of one child."""

    def __init__(self, limits: RestartLimits) -> None:
        self._limits = limits
        self._started_at_s = 0.0
        self._was_ready = False
        self._deaths = 0
        self._deaths_in_a_row = 0

    def record_start(self, now_s: float) -> None:
        self._started_at_s = now_s

    def record_ready(self) -> None:
        """A child that was ready once is restarted without limit."""
        self._was_ready = True

    def record_death(self, now_s: float, *, permanent: bool = False) -> Restart | GiveUp:
        """`permanent`: another start would fail in the same way."""
        self._deaths += 1
        if now_s - self._started_at_s >= self._limits.reset_after_s:
            self._deaths_in_a_row = 0
        self._deaths_in_a_row += 1
        if not self._was_ready and (permanent or self._deaths >= self._limits.deaths_before_ready):
            return GiveUp(self._deaths)
        # The bounded exponent keeps the float from overflowing after weeks of crashes.
        doubled = self._limits.first_delay_s * 2.0 ** min(self._deaths_in_a_row - 1, 32)
        return Restart(min(doubled, self._limits.longest_delay_s), self._deaths)
