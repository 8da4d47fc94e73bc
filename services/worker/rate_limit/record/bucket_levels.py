"""Token buckets of the shared record: what was spent, by grain of time, and the level left of older spending
(decision 0018).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from penstock.contract.quota import Carried, Grain
from services.worker.rate_limit.record.window_grains import GrainedWindow, Kind, merged
from services.worker.rate_limit.token_bucket import Refill, level_at, reaches_level_at, whole

__all__ = ["Bucket", "BucketLevel", "folded"]

_COLUMN: Final[dict[Kind, int]] = {"requests": 1, "tokens": 2}


class Bucket(Struct, frozen=True, kw_only=True):
    """One token bucket in force."""

    capacity: int
    refill: Refill
    """Per millisecond."""
    grain_ms: int
    margin_ms: int
    """Delay of the refill: one call may reach the provider so much later than the next one."""
    emptied_ms: int | None = None
    """When a refusal showed that the bucket is empty."""

    def charges(
        self, carried: Carried | None, grains: Iterable[Grain], kind: Kind
    ) -> list[tuple[float, float]]:
        """In order, each at the end of its grain."""
        column = _COLUMN[kind]
        found = [] if carried is None else [(self._stable_ms(carried[0]), carried[column])]
        found += [(self._stable_ms(grain[0]), grain[column]) for grain in grains]
        if self.emptied_ms is None:
            return found
        later = [charge for charge in found if charge[0] > self.emptied_ms]
        if carried is not None and self._stable_ms(carried[0]) > self.emptied_ms:
            return later  # the carried level includes the refusal
        return [(self.emptied_ms, self.capacity), *later]

    def left_of(self, carried: Carried | None, gone: tuple[Grain, ...], kind: Kind) -> float:
        """The level once the last of the grains `gone` is stable."""
        charges = self.charges(carried, gone, kind)
        return level_at(charges, self.refill, self._stable_ms(gone[-1][0]))

    def _stable_ms(self, grain: int) -> float:
        return float((grain + 1) * self.grain_ms + self.margin_ms)


class BucketLevel(Struct, frozen=True):
    """A bucket at one instant."""

    bucket: Bucket
    charges: list[tuple[float, float]]
    level: float

    @classmethod
    def at(
        cls, bucket: Bucket, carried: Carried | None, grains: Iterable[Grain], kind: Kind, now_ms: int
    ) -> BucketLevel:
        charges = bucket.charges(carried, grains, kind)
        return cls(bucket, charges, level_at(charges, bucket.refill, now_ms))

    @property
    def spent(self) -> int:
        return whole(self.level)

    def falls_to_at_ms(self, level: int, now_ms: int) -> int | None:
        at_ms = reaches_level_at(self.charges, self.bucket.refill, level, now_ms)
        return None if at_ms is None or at_ms == float("inf") else whole(at_ms)

    def per_s(self, now_ms: int) -> float:
        return self.bucket.refill.between(now_ms, now_ms + 1000)


def folded(
    carried: Carried | None,
    grains: tuple[Grain, ...],
    spent: tuple[Grain, ...],
    buckets: dict[Kind, Bucket],
    window: GrainedWindow,
    now_ms: int,
) -> tuple[Carried | None, tuple[Grain, ...]]:
    """Add `spent` to the record's grains; grains older than the window become part of the carried level."""
    oldest = window.oldest(now_ms) if carried is None else carried[0]
    late = [grain for grain in spent if grain[0] <= oldest]
    grains = merged(grains, [grain for grain in spent if grain[0] > oldest])
    if any(requests > 0 or tokens > 0 for _, requests, tokens in late):
        carried = _with_late(carried or (oldest, 0.0, 0.0), late, buckets)
    alive = window.alive(grains, now_ms)
    gone = grains[: len(grains) - len(alive)]
    if gone:
        left = {kind: bucket.left_of(carried, gone, kind) for kind, bucket in buckets.items()}
        carried = (gone[-1][0], left.get("requests", 0.0), left.get("tokens", 0.0))
    if carried is not None and _is_refilled(carried, buckets, now_ms - window.length_ms):
        carried = None
    return carried, alive


def _with_late(carried: Carried, late: Iterable[Grain], buckets: dict[Kind, Bucket]) -> Carried:
    """Add spending that was reported so late that its refill is unknown: in full, up to the bucket's capacity."""

    def level(kind: Kind, before: float) -> float:
        if kind not in buckets:
            return 0.0
        more = sum(max(0, grain[_COLUMN[kind]]) for grain in late)
        return min(before + more, max(before, float(buckets[kind].capacity)))

    return carried[0], level("requests", carried[1]), level("tokens", carried[2])


def _is_refilled(carried: Carried, buckets: dict[Kind, Bucket], at_ms: int) -> bool:
    return all(
        level_at(bucket.charges(carried, (), kind), bucket.refill, at_ms) <= 0
        for kind, bucket in buckets.items()
    )
