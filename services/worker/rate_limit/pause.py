"""The pause of a (credential, model) after a 429: how long it lasts, and how it ends (C4)."""

from __future__ import annotations

from collections.abc import Hashable
from math import inf
from typing import Final

from msgspec import Struct

__all__ = ["HALF_OPEN_FROM_S", "LONGEST_RETRY_S", "PauseLengths", "PauseState"]

_FIRST_S, _LONGEST_S = 0.1, 1.0
"""Seconds of the first and the longest pause in a row of 429s with a `Retry-After`: a provider that answers "now" is
not asked in a loop, and from one second on only its own figure counts."""
_FIRST_BARE_S, _LONGEST_BARE_S = 1.0, 8.0
"""The same for 429s without a `Retry-After`; the longest is that of the backoff (D2)."""
LONGEST_RETRY_S: Final = 3_600.0
"""Seconds to which a longer `Retry-After` is cut, also that of a limit per day. One request goes first when the pause
ends, so a true figure costs one call an hour and a wrong one stops no request for a day."""
_DOUBLINGS: Final = 10
"""Most doublings of a pause; more than either first length takes to its longest."""
_LONGEST_HALF_OPEN_S: Final = 2.0
"""Seconds for which other requests wait for the first one: a 429 comes within this, an answer may take longer."""
HALF_OPEN_FROM_S: Final = 1.0
"""Seconds of the shortest pause that ends half-open where the rate is known: after a shorter one the rate limits the
requests anyway."""


class _Streak(Struct):
    """The 429s of one (credential, model) without a success between them."""

    length: int = 0
    last_s: float = 0.0
    """When the last of them came."""


class PauseLengths:
    """Length of each pause; it grows with every 429 in a row. Instants are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._streaks: dict[Hashable, _Streak] = {}

    def pause_s(self, key: Hashable, retry_after_s: float | None, *, began_s: float, now_s: float) -> float:
        """Seconds to pause `key` after a 429 to a call that began at `began_s`.

        At least the provider's `Retry-After`, and at least a length that doubles with each 429 in a row. A call that
        began before the last 429 does not lengthen the row: for it only the `Retry-After` counts; 0 without one.
        """
        streak = self._streaks.setdefault(key, _Streak(last_s=began_s))
        if began_s < streak.last_s:
            return retry_after_s or 0.0
        first_s, longest_s = (
            (_FIRST_BARE_S, _LONGEST_BARE_S) if retry_after_s is None else (_FIRST_S, _LONGEST_S)
        )
        least_s = min(longest_s, first_s * 2.0 ** min(streak.length, _DOUBLINGS))
        streak.length += 1
        streak.last_s = now_s
        return max(retry_after_s or 0.0, least_s)

    def succeeded(self, key: Hashable, *, began_s: float) -> None:
        """End the row, unless the call began before its last 429."""
        streak = self._streaks.get(key)
        if streak is not None and began_s >= streak.last_s:
            del self._streaks[key]


class PauseState:
    """State of one pause: open, paused or half-open. Instants are monotonic seconds that do not run backwards.

    Half-open: one request goes first and the others follow when it got through. A provider that refused all requests
    would refuse them again if all of them returned at the same moment.
    """

    __slots__ = ("_first", "_first_started_s", "_half_open", "is_open", "until_s")

    def __init__(self) -> None:
        self.is_open = True
        self.until_s = -inf
        """The end of the latest pause."""
        self._first: int | None = None
        self._first_started_s = -inf
        self._half_open = True

    def pause(self, until_s: float, *, half_open: bool = True) -> bool:
        """Admit nothing before `until_s`; returns whether that changes anything. A longer pause stays as it is.

        `half_open`: one request goes first at the end, and the others when it got through.
        """
        if until_s <= self.until_s:
            return False
        self.is_open = False
        self._half_open = half_open
        self.until_s, self._first = until_s, None
        return True

    def wait_s(self, now_s: float) -> float:
        """Seconds until a request may go; 0: now."""
        if self.is_open:
            return 0.0
        if now_s < self.until_s:
            return self.until_s - now_s
        if not self._half_open:
            self.is_open = True
            return 0.0
        if self._first is None:
            return 0.0
        left_s = self._first_started_s + _LONGEST_HALF_OPEN_S - now_s
        if left_s > 0:
            return left_s
        self.is_open = True
        return 0.0

    def record_start(self, number: int, now_s: float) -> None:
        """Call `number` was admitted, as `wait_s` allowed."""
        if not self.is_open:
            self._first, self._first_started_s = number, now_s

    def record_end(self, number: int, tokens: int) -> None:
        """Call `number` ended. If it is the first one, tokens used prove that it got through; without them the next
        request goes first.
        """
        if self.is_open or number != self._first:
            return
        self._first = None
        self.is_open = tokens > 0
