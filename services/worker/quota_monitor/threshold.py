"""A warning threshold on the usage of a limit, with hysteresis (REQUIREMENTS C7)."""

from __future__ import annotations

from typing import Literal

from penstock.runtime.config.catalogue import QuotaWarning

__all__ = ["AlarmState", "ThresholdAlarm"]

AlarmState = Literal["warned", "eased"]


class ThresholdAlarm:
    """Changes to warned at `warn_share`, and to eased after `calm_s` without interruption below `calm_share`."""

    def __init__(self, terms: QuotaWarning, state: AlarmState | None = None) -> None:
        """`state`: None if unknown, as when an earlier worker may have warned; then the first change to eased is
        reported too.
        """
        self._terms = terms
        self._low_since_s: float | None = None
        self.state = state

    def update(self, used: int, allowed: int, now_s: float) -> AlarmState | None:
        """Record the usage; returns the new state if it changed. A limit of 0 is always used up."""
        share = used / allowed if allowed > 0 else 1.0
        if share >= self._terms.calm_share:
            self._low_since_s = None
        elif self._low_since_s is None:
            self._low_since_s = now_s
        if share >= self._terms.warn_share:
            return self._move("warned")
        if self._low_since_s is not None and now_s - self._low_since_s >= self._terms.calm_s:
            return self._move("eased")
        return None

    def _move(self, to: AlarmState) -> AlarmState | None:
        if self.state == to:
            return None
        self.state = to
        return to
