"""The clock of one shared record: its instants, carried on by this process's monotonic clock."""

from __future__ import annotations

__all__ = ["RecordClock"]

_TOLERANCE_MS = 250
"""A record this far behind was not just slow to arrive: whoever wrote it did not know the time."""


class RecordClock:
    """Every record says when it was written. No record can arrive before it is written, so the clock is never
    ahead of the furthest writer's; and it is behind by no more than the quickest delivery took.
    """

    def __init__(self) -> None:
        self._ahead_s: float | None = None

    @property
    def is_set(self) -> bool:
        return self._ahead_s is not None

    def observe(self, at_ms: int, now_s: float) -> None:
        """A record written at `at_ms` is here at `now_s`, monotonic."""
        ahead_s = at_ms / 1000 - now_s
        if self._ahead_s is None or ahead_s > self._ahead_s:
            self._ahead_s = ahead_s

    def now_ms(self, now_s: float) -> int:
        """The record's time at `now_s`; 0 as long as no record was observe of."""
        return 0 if self._ahead_s is None else int((now_s + self._ahead_s) * 1000)

    def local_s(self, at_ms: int) -> float:
        """When the record's clock will show `at_ms`, monotonic."""
        return at_ms / 1000 - (self._ahead_s or 0.0)

    def is_behind(self, at_ms: int, now_s: float) -> bool:
        """Whether the writer of a record that arrives now had not the time we have."""
        return self.now_ms(now_s) - at_ms > _TOLERANCE_MS
