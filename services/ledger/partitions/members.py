"""The live ledger processes, as one of them sees them."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Final

__all__ = ["DEAD_AFTER_S", "Members"]

DEAD_AFTER_S: Final = 2.0
"""Seconds without a heartbeat after which a process counts as dead: four intervals."""
_SETTLE_S: Final = 0.75
"""Seconds after the first heartbeat of its own in which a process hears from all others that live."""
_REMEMBERED: Final = 64
"""Heartbeats of its own whose return is awaited."""


class Members:
    """Folds heartbeats. Times are monotonic seconds of this process.

    A process also receives its own heartbeats, and the server delivers in order. So a returned heartbeat that was sent
    lately shows that everything published before it was received: the process is neither frozen nor cut off, and it
    knows every other process that lives. Without one for `DEAD_AFTER_S` others may have taken its partitions, and it
    must not act for them (`in_contact`).
    """

    def __init__(self, own: str) -> None:
        self._own = own
        self._heard_s: dict[str, float] = {}
        self._sent: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED)
        self._returned_s = -inf
        """When the latest returned heartbeat was sent."""
        self._attentive_since_s = inf

    def record_sent(self, at_ms: int, now_s: float) -> None:
        """This process sends a heartbeat with the stamp `at_ms`."""
        self._sent.append((at_ms, now_s))

    def observe(self, member: str, at_ms: int, now_s: float) -> None:
        """A heartbeat was received; `at_ms` is its stamp."""
        if member != self._own:
            self._heard_s[member] = now_s
            return
        sent_s = next((sent_s for stamp, sent_s in reversed(self._sent) if stamp == at_ms), None)
        if sent_s is None or now_s - sent_s >= DEAD_AFTER_S:
            return
        if not self._is_recent(now_s):
            self._attentive_since_s = now_s
        self._returned_s = max(self._returned_s, sent_s)

    def forget(self, member: str) -> None:
        """`member` says that it stops."""
        self._heard_s.pop(member, None)

    def in_contact(self, now_s: float) -> bool:
        """Whether this process receives what is published, and has listened long enough to know the others."""
        return self._is_recent(now_s) and now_s - self._attentive_since_s >= _SETTLE_S

    def live(self, now_s: float) -> frozenset[str]:
        """The live processes, this one included."""
        self._heard_s = {name: at_s for name, at_s in self._heard_s.items() if now_s - at_s < DEAD_AFTER_S}
        return frozenset((self._own, *self._heard_s))

    def others(self, now_s: float) -> frozenset[str]:
        return self.live(now_s) - {self._own}

    def _is_recent(self, now_s: float) -> bool:
        return now_s - self._returned_s < DEAD_AFTER_S
