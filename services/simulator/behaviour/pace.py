"""When the tokens of an answer are due."""

from __future__ import annotations

from msgspec import Struct

from services.simulator.behaviour.behaviours import Behaviour
from services.simulator.settings import Speed

__all__ = ["Pace"]


class Pace(Struct, frozen=True):
    """Seconds on the monotonic clock."""

    first_at_s: float
    per_token_s: float
    """0: all at once."""

    @classmethod
    def begin(cls, speed: Speed, behaviour: Behaviour, now_s: float) -> Pace:
        wait_s = behaviour.value if behaviour.kind == "slow-first-token" else speed.first_token_ms / 1e3
        per_token_s = 1 / speed.tokens_per_second if speed.tokens_per_second else 0.0
        return cls(now_s + wait_s, per_token_s)

    def due_s(self, token: int) -> float:
        """When token number 0, 1, 2, … is made."""
        return self.first_at_s + token * self.per_token_s

    def made(self, total: int, now_s: float) -> int:
        """How many of `total` tokens are made by now."""
        if now_s < self.first_at_s:
            return 0
        if not self.per_token_s:
            return total
        return min(total, 1 + int((now_s - self.first_at_s) / self.per_token_s))
