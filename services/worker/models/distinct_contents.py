"""Counts the requests with distinct content that met the same failure (REQUIREMENTS D11): a failure of one request
alone does not indicate a failing model.
"""

from __future__ import annotations

from typing import Final

__all__ = ["SPAN_S", "DistinctContents"]

SPAN_S: Final = 60.0
"""Default window in seconds within which requests are counted together."""
_MAX_CONTENTS: Final = 64
"""Maximum number of contents kept per key."""


class DistinctContents:
    """Per key, the contents first seen in the last `span_s` seconds. Bounded in memory; times must not decrease.

    Seeing a content again does not extend the time for which it counts.
    """

    __slots__ = ("_seen", "_span_s")

    def __init__(self, span_s: float = SPAN_S) -> None:
        self._span_s = span_s
        self._seen: dict[str, dict[int, float]] = {}

    def add(self, key: str, content: int, now_s: float) -> int:
        """Add a content; returns the number of contents, or 0 if it was counted already."""
        seen = self._seen.setdefault(key, {})
        while seen and now_s - next(iter(seen.values())) >= self._span_s:  # the first is the oldest
            del seen[next(iter(seen))]
        if content in seen:
            return 0
        if len(seen) >= _MAX_CONTENTS:
            del seen[next(iter(seen))]
        seen[content] = now_s
        return len(seen)

    def clear(self, key: str) -> None:
        """Discard the contents of `key`, after a request succeeded."""
        self._seen.pop(key, None)
