"""Counts how many requests with different content met with one thing (REQUIREMENTS D11): what only one request receives
says nothing of the model.
"""

from __future__ import annotations

from typing import Final

__all__ = ["SPAN_S", "DistinctContents"]

SPAN_S: Final = 60.0
"""Seconds within which requests count together, unless said otherwise."""
_MOST: Final = 64
"""Contents remembered per key."""


class DistinctContents:
    """Per key, the contents seen in the last `span_s` seconds. Bounded in memory; instants must not run backwards.

    A content counts from when it was first seen, for as long as that, however often it comes again.
    """

    __slots__ = ("_seen", "_span_s")

    def __init__(self, span_s: float = SPAN_S) -> None:
        self._span_s = span_s
        self._seen: dict[str, dict[int, float]] = {}

    def add(self, key: str, content: int, now_s: float) -> int:
        """How many there are with this one; 0 if it was among them already."""
        seen = self._seen.setdefault(key, {})
        while seen and now_s - next(iter(seen.values())) >= self._span_s:  # the first is the oldest
            del seen[next(iter(seen))]
        if content in seen:
            return 0
        if len(seen) >= _MOST:
            del seen[next(iter(seen))]
        seen[content] = now_s
        return len(seen)

    def clear(self, key: str) -> None:
        """A request succeeded: what came before says nothing any more."""
        self._seen.pop(key, None)
