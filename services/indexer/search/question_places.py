"""How many questions an indexer works on at once, shared between accounts."""

from __future__ import annotations

from collections import Counter

__all__ = ["QuestionPlaces"]


class QuestionPlaces:
    """An account may hold as many places as are free: alone half of all, and another one always finds some.

    This is the dynamic threshold of Choudhury and Hahne (1998), with the factor 1.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        return self._held.total()

    def enter(self, account: str) -> bool:
        """False: the account has no place now. Each place is given back by `leave`."""
        if self._held[account] >= self._most - self.taken:
            return False
        self._held[account] += 1
        return True

    def leave(self, account: str) -> None:
        self._held[account] -= 1
        if not self._held[account]:
            del self._held[account]
