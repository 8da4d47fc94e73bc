"""A pause of a (credential, model), and its end: one request goes first, the others when it got through (C4)."""

from __future__ import annotations

from math import inf
from typing import Final

__all__ = ["ONE_FIRST_FROM_S", "Cooldown"]

_LONGEST_S: Final = 2.0
"""How long other requests wait for the first one after a pause: a 429 comes within this, an answer may take longer."""
ONE_FIRST_FROM_S: Final = 1.0
"""After a shorter pause no call needs to go first where the rate is known: requests follow at that rate anyway."""


class Cooldown:
    """Open, paused, or opening again. Instants are monotonic seconds that do not run backwards.

    A provider that sent everybody away would send them away again if all of them came back at the same moment.
    """

    __slots__ = ("_first", "_first_left_s", "_one_first", "is_open", "until_s", "why")

    def __init__(self) -> None:
        self.is_open = True
        self.until_s = -inf
        """The end of the latest pause."""
        self.why = ""
        self._first: int | None = None
        self._first_left_s = -inf
        self._one_first = True

    def pause(self, until_s: float, why: str, *, one_first: bool = True) -> bool:
        """Nobody goes before `until_s`; returns whether that is news. A shorter pause does not shorten a longer one.

        `one_first`: then one request goes first, and the others when it got through.
        """
        if until_s <= self.until_s:
            return False
        self.is_open = False
        self._one_first = one_first
        self.until_s, self.why, self._first = until_s, why, None
        return True

    def wait_s(self, now_s: float) -> float:
        """How long until somebody may go; 0: now."""
        if self.is_open:
            return 0.0
        if now_s < self.until_s:
            return self.until_s - now_s
        if not self._one_first:
            self.is_open = True
            return 0.0
        if self._first is None:
            return 0.0
        left_s = self._first_left_s + _LONGEST_S - now_s
        if left_s > 0:
            return left_s
        self.is_open = True
        return 0.0

    def record_start(self, number: int, now_s: float) -> None:
        """The call `number` was let through, as `wait_s` allowed."""
        if not self.is_open:
            self._first, self._first_left_s = number, now_s

    def record_end(self, number: int, tokens: int) -> None:
        """A call is over. One that used tokens was let in; another teaches nothing, and the next one goes first."""
        if self.is_open or number != self._first:
            return
        self._first = None
        self.is_open = tokens > 0
