"""The clock of one shared record, carried on by this process's monotonic clock."""

from __future__ import annotations

__all__ = ["RecordClock"]

_TOLERANCE_MS = 250
"""Milliseconds by which a record may lag behind: beyond, its writer did not know the record's time."""


class RecordClock:
    """Time of the record at a monotonic instant.

    Every record states when it was written. No record arrives before it is written, so the clock is never ahead of the
    furthest writer's, and behind it by no more than the fastest delivery took.
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
        """The record's time at `now_s`; 0 before the first record."""
        return 0 if self._ahead_s is None else int((now_s + self._ahead_s) * 1000)

    def local_s(self, at_ms: int) -> float:
        """The monotonic instant at which the record's clock shows `at_ms`."""
        return at_ms / 1000 - (self._ahead_s or 0.0)

    def is_behind(self, at_ms: int, now_s: float) -> bool:
        """Whether the writer of a record that arrives now did not know the record's time."""
        return self.now_ms(now_s) - at_ms > _TOLERANCE_MS
