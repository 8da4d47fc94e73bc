"""A sliding window: how much was charged in the last `span_s` seconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

__all__ = ["Charge", "SlidingWindow"]


class Charge:
    """One entry of a window's log; `SlidingWindow.refund` takes some of it back."""

    __slots__ = ("amount", "began_s", "expires_s")

    def __init__(self, amount: int, began_s: float, expires_s: float) -> None:
        self.amount = amount
        self.began_s = began_s
        self.expires_s = expires_s


class SlidingWindow:
    """A log of charges with its running sum.

    A charge made at t counts at every instant before t + `span_s`, so no window of that length, wherever it begins,
    holds more than was admitted.

    With `grain_s` 0 the log is exact: one entry per charge. A longer grain gathers the charges of that many seconds in
    one entry, which expires when its *latest* charge does: memory is bounded by `span_s / grain_s` entries, and an
    early charge may count up to `grain_s` too long, never too short.

    An instant before the latest one seen counts as the latest.
    """

    __slots__ = ("_charges", "_clock_s", "_grain_s", "_span_s", "_used")

    def __init__(self, span_s: float, grain_s: float = 0.0) -> None:
        self._span_s = span_s
        self._grain_s = grain_s
        self._charges: deque[Charge] = deque()
        self._used = 0
        self._clock_s = float("-inf")

    def used(self, now_s: float) -> int:
        """Sum of the charges within the window that ends now."""
        if now_s > self._clock_s:
            self._clock_s = now_s
            charges = self._charges
            while charges and charges[0].expires_s <= now_s:
                self._used -= charges.popleft().amount
        return self._used

    def charge(self, amount: int, now_s: float) -> Charge:
        """Count `amount` from now on, whether or not it fits: the caller has checked."""
        self.used(now_s)
        now_s = self._clock_s
        self._used += amount
        if self._charges:
            latest = self._charges[-1]
            if now_s - latest.began_s <= self._grain_s:
                latest.amount += amount
                latest.expires_s = now_s + self._span_s
                return latest
        made = Charge(amount, now_s, now_s + self._span_s)
        self._charges.append(made)
        return made

    def refund(self, charge: Charge, amount: int, now_s: float) -> None:
        """Take `amount` of `charge` back; nothing if it no longer counts."""
        self.used(now_s)
        if charge.expires_s > self._clock_s:
            charge.amount -= amount
            self._used -= amount

    def returns(self, now_s: float) -> Iterator[tuple[float, int]]:
        """In how many seconds each charge expires, and its amount; the oldest first."""
        self.used(now_s)
        for charge in self._charges:
            yield charge.expires_s - self._clock_s, charge.amount

    def falls_to_at_s(self, level: int, now_s: float) -> float:
        """When no more than `level` is used if nothing is charged until then: `now_s` if that is so already, infinite
        for a negative level.
        """
        left = self.used(now_s)
        if left <= level:
            return now_s
        for charge in self._charges:
            left -= charge.amount
            if left <= level:
                return charge.expires_s
        return float("inf")
