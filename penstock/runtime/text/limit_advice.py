"""Advice on a limit, from its observed use: raise it, or choose a smaller tier (C7)."""

from __future__ import annotations

import math
from typing import Final

from penstock.contract.presence import LimitStatus, PastUsage

__all__ = ["LIMIT_WORDS", "advice", "duration", "times_the_limit"]

LIMIT_WORDS: Final = {
    "requests_per_minute": "requests/min",
    "tokens_per_minute": "tokens/min",
    "requests_per_day": "requests/day",
    "tokens_per_day": "tokens/day",
    "concurrency": "calls at once",
}
_HOUR_S: Final = 3600
_DAY_S: Final = 86_400
_NEAR_SHARE: Final = 0.05
"""Share of the time in which a nearly full limit is reported although no request was delayed."""
_NEAR_WATCHED_S: Final = 600
"""Seconds of observation needed for that."""
_IDLE_SHARE: Final = 0.4
"""Share of a limit that was never exceeded when a smaller tier is advised."""
_IDLE_WATCHED_S: Final = 6 * _HOUR_S
"""Seconds of observation needed for that."""


def advice(status: LimitStatus) -> str:
    """One sentence; empty if the limit fits, or if it was observed too briefly."""
    if status.allowed <= 0:
        return ""
    for past, span_s in ((status.hour, _HOUR_S), (status.day, _DAY_S)):
        found = _to_raise(status, past, min(span_s, status.watched_s))
        if found:
            return found
    if status.watched_s >= _IDLE_WATCHED_S and 0 < status.day.peak <= status.allowed * _IDLE_SHARE:
        share = math.ceil(100 * status.day.peak / status.allowed)
        watched = duration(min(_DAY_S, status.watched_s))
        return f"{_name(status)}: at most {share}% used in the last {watched}; a smaller tier would do."
    return ""


def times_the_limit(past: PastUsage, allowed: int) -> float:
    """The multiple of the limit that would have sufficed, in steps of 0.5; at least 1.5 if a request was delayed."""
    if past.throttled == 0 or allowed <= 0:
        return 1.0
    return max(1.5, math.ceil(2 * (past.peak + past.unmet) / allowed) / 2)


def duration(seconds: float) -> str:
    """`seconds` in the largest unit of which there are at least two."""
    if seconds < 2 * 60:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR_S:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / _HOUR_S:.0f} h"


def _to_raise(status: LimitStatus, past: PastUsage, watched_s: int) -> str:
    lately = f"of the last {duration(max(1, watched_s))}"
    if past.throttled:
        held = "1 request was" if past.throttled == 1 else f"{past.throttled:,} requests were"
        seen = f"was full for {duration(past.full_s)} {lately}; {held} held back or went elsewhere"
        return f"{_name(status)} {seen}: {_remedy(status, past)}."
    if watched_s >= _NEAR_WATCHED_S and past.near_limit_s >= watched_s * _NEAR_SHARE:
        seen = f"was nearly full for {duration(past.near_limit_s)} {lately}, and no request had to wait"
        return f"{_name(status)} {seen}: raise it before there is more to do."
    return ""


def _remedy(status: LimitStatus, past: PastUsage) -> str:
    if status.limit == "concurrency":
        return "a higher limit would have served them at once"
    times = times_the_limit(past, status.allowed)
    words = {1.5: "one and a half times the limit", 2.0: "twice the limit"}.get(
        times, f"{times:g} times the limit"
    )
    return f"about {words} would have served them at once"


def _name(status: LimitStatus) -> str:
    return f"{LIMIT_WORDS.get(status.limit, status.limit)} of {status.model}"
