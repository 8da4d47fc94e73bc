"""One place, one kind: which of several findings that overlap is kept."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from msgspec import Struct

__all__ = ["Found", "without_overlaps"]


class Found(Struct, frozen=True, gc=False):
    """A finding before overlaps are resolved: bytes from `start` to `end`, the end exclusive."""

    start: int
    end: int
    kind: str
    rank: int = 0
    """How specific the finding is; of findings that overlap, the highest is kept, then the longest, then the first."""


def without_overlaps(found: Iterable[Found]) -> list[Found]:
    """The findings that are kept, in the order of their places."""
    kept: list[Found] = []
    group: list[Found] = []
    end = 0
    for each in sorted(found, key=lambda one: (one.start, one.end)):
        if group and each.start >= end:
            kept += _best(group)
            group = []
        group.append(each)
        end = max(end, each.end) if len(group) > 1 else each.end
    return kept + _best(group)


def _best(group: list[Found]) -> list[Found]:
    """Those that are kept of findings that overlap, each with another of the group."""
    if len(group) < 2:
        return group
    starts: list[int] = []
    kept: list[Found] = []
    for each in sorted(group, key=lambda one: (-one.rank, one.start - one.end, one.start, one.kind)):
        at = bisect_left(starts, each.end)  # those before `at` begin before this one ends
        if at and kept[at - 1].end > each.start:
            continue
        starts.insert(at, each.start)
        kept.insert(at, each)
    return kept
