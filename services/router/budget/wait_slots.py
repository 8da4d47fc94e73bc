"""Bounds how many requests wait for the ledger, because all requests share the router's slots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["MOST_WAITING", "WaitSlots"]

_MOST_OF_ACCOUNT: Final = 16
"""Less than the slots of an account (handlers.py), so that its other requests go on while these wait."""
MOST_WAITING: Final = 64
"""Half of the slots of a lane: the other requests pass while these wait."""


class WaitSlots:
    """Counts the requests whose hold may wait for those of other requests."""

    def __init__(self, most_of_account: int = _MOST_OF_ACCOUNT, most: int = MOST_WAITING) -> None:
        self._most_of_account = most_of_account
        self._most = most
        self._waiting: Counter[str] = Counter()
        self._all = 0

    @contextmanager
    def taken(self, account: str) -> Iterator[bool]:
        """Take a slot for as long as the context lasts; False: there is none, so the request must not wait."""
        free = self._all < self._most and self._waiting[account] < self._most_of_account
        if not free:
            yield False
            return
        self._all += 1
        self._waiting[account] += 1
        try:
            yield True
        finally:
            self._all -= 1
            self._waiting[account] -= 1
            if not self._waiting[account]:
                del self._waiting[account]
