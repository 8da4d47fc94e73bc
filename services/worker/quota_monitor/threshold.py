"""Whether a limit is nearly used up, told once per crossing (REQUIREMENTS C7)."""

from __future__ import annotations

from typing import Literal

from penstock.runtime.config.catalogue import TierWarning

__all__ = ["Crossing", "NearAlarm"]

Crossing = Literal["warned", "eased"]


class NearAlarm:
    """Warned at `warn_share`; eased once below `calm_share` for `calm_s` without a break.

    What was before the first crossing is not known: a predecessor may have warned, so the first calm is told too.
    """

    def __init__(self, terms: TierWarning) -> None:
        self._terms = terms
        self._low_since_s: float | None = None
        self.state: Crossing | None = None

    def update(self, used: int, allowed: int, now_s: float) -> Crossing | None:
        """The crossing, if this is one. A limit of nothing is always used up."""
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

    def _move(self, to: Crossing) -> Crossing | None:
        if self.state == to:
            return None
        self.state = to
        return to
