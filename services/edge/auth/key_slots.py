"""The requests in progress with each key, of which this process allows so many."""

from __future__ import annotations

__all__ = ["KeySlots"]


class KeySlots:
    def __init__(self, limit: int) -> None:
        """`limit`: requests in progress with one key."""
        self.limit = limit
        self._taken: dict[str, int] = {}

    def try_acquire(self, prefix: str) -> bool:
        """Whether one more request may begin; it must be released at its end."""
        taken = self._taken.get(prefix, 0)
        if taken >= self.limit:
            return False
        self._taken[prefix] = taken + 1
        return True

    def release(self, prefix: str) -> None:
        taken = self._taken[prefix] - 1
        if taken:
            self._taken[prefix] = taken
        else:
            del self._taken[prefix]
