"""Which messages of a mailbox a round of the sweep reads."""

from __future__ import annotations

from typing import Final

__all__ = ["SweepCursor"]

_HEAD: Final = 1
"""The lowest stream sequence: reading from here finds the oldest message."""


class SweepCursor:
    """The cursor over one mailbox. Each round reads at most `batch` messages:

        while (sequence := cursor.next_sequence) is not None:
            read the first message at or after `sequence`; `visit` it, or `end` if there is none
        cursor.rotate()

    The first half of a round starts at the head, with the oldest messages; the second half continues where the round
    before stopped. So a short deadline behind thousands of long ones is found as well, though later.
    """

    def __init__(self, batch: int = 500) -> None:
        if batch < 2:
            raise ValueError(f"a sweep needs a batch of at least 2, not {batch}")
        self._head_share = (batch + 1) // 2
        self._batch = batch
        self._resume = _HEAD
        self._visited = 0
        self._ended = False
        self._cursor = _HEAD

    @property
    def next_sequence(self) -> int | None:
        """The stream sequence to read at or after; None when the round is over."""
        return None if self._ended or self._visited >= self._batch else self._cursor

    def visit(self, sequence: int, deadline_ms: int, now_ms: float, grace_ms: int = 2000) -> bool:
        """Advance past the message read; returns whether it expired.

        Within `grace_ms` of its deadline a worker may still complete it.
        """
        self._visited += 1
        self._cursor = sequence + 1
        if self._visited == self._head_share:
            self._cursor = max(self._cursor, self._resume)
        return now_ms > deadline_ms + grace_ms

    def end(self) -> None:
        """There is no message at or after `next_sequence`: the next round's second half starts over."""
        self._ended = True

    def rotate(self) -> None:
        """Start a new round at the head."""
        self._resume = _HEAD if self._ended else self._cursor
        self._cursor = _HEAD
        self._visited = 0
        self._ended = False
