"""Sliding windows of the shared record: what was spent, by grain of time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Final, Literal

from msgspec import Struct

from penstock.contract.quota import Grain

__all__ = ["GrainedWindow", "Kind", "merged", "spent_of"]

Kind = Literal["requests", "tokens"]
_REQUESTS: Final[Callable[[Grain], int]] = itemgetter(1)
_TOKENS: Final[Callable[[Grain], int]] = itemgetter(2)


class GrainedWindow(Struct, frozen=True):
    """A window of `length_ms`, kept in grains of `grain_ms`.

    A grain counts until `length_ms` after its end: what was spent early in it counts up to one grain too long, and
    nothing too short.
    """

    length_ms: int
    grain_ms: int

    def grain(self, at_ms: int) -> int:
        return at_ms // self.grain_ms

    def oldest(self, now_ms: int) -> int:
        """The latest grain that no longer counts."""
        return (now_ms - self.length_ms) // self.grain_ms - 1

    def ends_ms(self, grain: int) -> int:
        """When the grain stops counting."""
        return (grain + 1) * self.grain_ms + self.length_ms

    def alive(self, grains: tuple[Grain, ...], now_ms: int) -> tuple[Grain, ...]:
        """The grains that still count; `grains` are in order."""
        for place, grain in enumerate(grains):
            if self.ends_ms(grain[0]) > now_ms:
                return grains[place:] if place else grains
        return ()

    def falls_to_at_ms(self, grains: tuple[Grain, ...], kind: Kind, level: int, now_ms: int) -> int | None:
        """When no more than `level` is left if nothing is added; None: never."""
        column = 1 if kind == "requests" else 2
        left = spent_of(grains, kind)
        if left <= level:
            return now_ms
        for grain in grains:
            left -= grain[column]
            if left <= level:
                return self.ends_ms(grain[0])
        return None


def spent_of(grains: Iterable[Grain], kind: Kind) -> int:
    """What was spent in all of these grains."""
    return sum(map(_REQUESTS if kind == "requests" else _TOKENS, grains))


def merged(grains: tuple[Grain, ...], more: Iterable[Grain]) -> tuple[Grain, ...]:
    """Add `more`, which may be negative: a grain never falls below 0."""
    sums = {grain[0]: (grain[1], grain[2]) for grain in grains}
    for number, requests, tokens in more:
        before = sums.get(number, (0, 0))
        sums[number] = (before[0] + requests, before[1] + tokens)
    return tuple(
        [  # a list costs less than a generator
            (number, max(0, requests), max(0, tokens))
            for number, (requests, tokens) in sorted(sums.items())
            if requests > 0 or tokens > 0
        ]
    )
