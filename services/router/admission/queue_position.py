"""Queue position of a request that arrives now: requests ahead of it, beside it, and those that will overtake it."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, inf
from typing import Final, Protocol

from msgspec import Struct

from penstock.contract.names import RANKS, Lane
from services.router.admission.arrival_rates import ArrivalRates
from services.router.queues.backlog import RolesCount

__all__ = [
    "CYCLE",
    "BacklogView",
    "LaneRank",
    "QueuePosition",
    "QuotaSharers",
    "expected_for_quota",
    "expected_in_mailbox",
    "overtakable",
    "position_for_quota",
    "position_in_mailbox",
    "spare_turns",
]

CYCLE: Final = 8
"""Turns of a full mailbox of which the ranks after the first one with requests have one together:
`penstock/runtime/consumer/scheduler.py`."""
_SHARE: Final = (1.0, 0.9, 0.8, 0.7, 0.65)
"""Share of the servable requests that each rank may fill, so that users with a long queue leave room for others."""
_MARGIN_PER: Final = 100
"""Queued requests per one that is added as a safety margin. Where a quota is empty for most of a minute, each excess
admission is one missed deadline; found in `tests/property/router/admission/test_admission_simulated.py`."""
_ROUNDS: Final = 20
"""Iterations of the fixed point. With overtaking at nine tenths of the service rate the wait is then exact to an
eighth."""


class BacklogView(Protocol):
    """Requests in the mailboxes, running ones included."""

    def queued(self, role: str, lane: str) -> int: ...
    def queued_of(self, roles: tuple[str, ...]) -> RolesCount: ...

    def ahead(self, role: str, lane: str, rank: int) -> int:
        """Requests of the ranks up to and including `rank`."""


class LaneRank(Struct, frozen=True):
    """The part of its role's mailbox that a request goes to."""

    lane: Lane
    rank: int


class QuotaSharers(Struct, frozen=True):
    """Roles that draw on the same quotas."""

    roles: tuple[str, ...]
    calling: float = 0.0
    """Requests that had passed the quota and were still in their mailboxes at the latest heartbeats, less those that
    arrived and ended between heartbeat and count."""
    unobserved: float = 0.0
    """Requests that may have arrived or ended between the heartbeats and the count of the mailboxes."""
    held: float = 0.0
    """Requests that workers hold while they wait for the quota: whatever their rank, they are ahead."""
    batch_share: float = 1.0
    """Batch requests served per interactive one while both wait."""
    batch_per_s: float | None = None
    """Batch requests per second that are served despite a reserve while interactive ones wait. None: no reserve."""


class QueuePosition(Struct, frozen=True):
    """Turns up to and including the request's own."""

    base: float
    """Turns caused by requests that are queued now."""
    overtaking_per_s: float = 0.0
    """Requests per second that arrive later and start earlier."""
    most: float = inf
    """Bound on the position, however many overtake."""

    def start_delay_s(self, delay_s: Callable[[float], float]) -> float:
        """Seconds until the request starts; `delay_s` gives them for a position.

        A longer wait means more overtaking and so a longer wait: the iteration approaches the fixed point from below.
        """
        wait_s = delay_s(self.base)
        if self.overtaking_per_s <= 0:
            return wait_s
        for _ in range(_ROUNDS):
            overtaking = self.overtaking_per_s * wait_s
            if overtaking < 1:  # only whole requests overtake
                break
            position = min(self.most, self.base + overtaking)
            again_s = delay_s(max(self.base, position))
            if again_s <= wait_s:
                break
            wait_s = again_s
        return wait_s


def overtakable(role: str, backlog: BacklogView, at: LaneRank, slots: int) -> int:
    """How many queued requests of higher rank numbers start later than one that arrives now.

    Excluded are those a worker may already hold, and those that have a turn in the meantime.
    """
    before = backlog.ahead(role, at.lane, at.rank)
    behind = backlog.queued(role, at.lane) - before
    if behind <= slots:
        return 0
    return max(0, behind - slots - ceil((before + 1) / (CYCLE - 1)))


def spare_turns(turns: float, queued: float, own_or_lower: float, higher: float) -> float:
    """Turns out of `turns` that are left once all `queued` requests had theirs.

    Limited by the turns left for requests of its own and lower ranks: the `higher` requests of higher ranks, which are
    older, take one of every cycle. Later ones of those ranks take none.
    """
    return min(turns - queued, turns - min(turns / CYCLE, higher) - own_or_lower)


def position_in_mailbox(
    role: str, backlog: BacklogView, at: LaneRank, arrivals: ArrivalRates, overtaken: int = 0
) -> QueuePosition:
    """Position before the slots of the request's role and lane.

    All queued requests count as ahead, higher ranks too: they were admitted. Lower ranks keep room because higher
    ranks may fill only a share. `overtaken`: requests that tolerate starting after this one.
    """
    base = _base_position(backlog.queued(role, at.lane) - overtaken, at.rank, 0.0)
    if at.rank == 0:
        return QueuePosition(base, 0.0, base)
    return QueuePosition(base, *_overtaking(role, backlog, at, arrivals, base))


def position_for_quota(
    role: str,
    backlog: BacklogView,
    at: LaneRank,
    arrivals: ArrivalRates,
    sharers: QuotaSharers,
    overtaken: int = 0,
) -> QueuePosition:
    """Position before the quotas that all `sharers` draw on."""
    shared = backlog.queued_of(sharers.roles)
    ahead = shared.interactive + (shared.batch if at.lane == "batch" else -overtaken)
    base = _base_position(ahead - sharers.calling, at.rank, sharers.unobserved)
    return _beside_other_lane(base, role, backlog, at, arrivals, sharers)


def expected_in_mailbox(
    role: str, backlog: BacklogView, at: LaneRank, arrivals: ArrivalRates, ahead: int
) -> QueuePosition:
    """`position_in_mailbox` without margins, where `ahead` requests of the mailbox are expected to start before."""
    return QueuePosition(ahead + 1, *_overtaking(role, backlog, at, arrivals, ahead + 1))


def expected_for_quota(
    role: str, backlog: BacklogView, at: LaneRank, arrivals: ArrivalRates, sharers: QuotaSharers, ahead: int
) -> QueuePosition:
    """`position_for_quota` without margins, where `ahead` requests of the mailbox are expected to start before."""
    shared = backlog.queued_of(sharers.roles)
    others = shared.interactive - backlog.queued(role, at.lane)
    others += shared.batch if at.lane == "batch" else 0
    base = max(ahead + others - max(0.0, sharers.calling), sharers.held) + 1
    return _beside_other_lane(base, role, backlog, at, arrivals, sharers)


def _beside_other_lane(
    base: float,
    role: str,
    backlog: BacklogView,
    at: LaneRank,
    arrivals: ArrivalRates,
    sharers: QuotaSharers,
) -> QueuePosition:
    """The position `base` among the requests ahead, and the requests of either lane that arrive later or take turns."""
    batch = backlog.queued_of(sharers.roles).batch
    if at.lane == "interactive":
        if sharers.batch_per_s is None:
            base += min(batch, base * sharers.batch_share)
        per_s, most = (0.0, base) if at.rank == 0 else _overtaking(role, backlog, at, arrivals, base)
        if batch and sharers.batch_per_s is not None:
            per_s, most = per_s + sharers.batch_per_s, most + batch
        return QueuePosition(base, per_s, most)
    per_s, most = _overtaking(role, backlog, at, arrivals, batch + 1)
    per_s += sum(arrivals.per_s(each, "interactive", rank) for each in sharers.roles for rank in RANKS)
    most = most * (1 + 1 / sharers.batch_share) if sharers.batch_share > 0 else inf
    return QueuePosition(base, per_s, max(base, most))


def _base_position(queued: float, rank: int, unobserved: float) -> float:
    """Position behind `queued` requests, with a safety margin; an empty queue has no margin."""
    if queued <= 0:
        return 1.0
    return queued / _SHARE[rank] + queued // _MARGIN_PER + min(queued, unobserved) + 1


def _overtaking(
    role: str, backlog: BacklogView, at: LaneRank, arrivals: ArrivalRates, base: float
) -> tuple[float, float]:
    """Arrivals per second of lower ranks, and the bound on the position: the older requests of lower ranks come
    first, and then this rank has one of `CYCLE` turns.
    """
    lane, rank = at.lane, at.rank
    if rank == 0:
        return 0.0, base
    lower = backlog.ahead(role, lane, rank - 1)
    own = backlog.ahead(role, lane, rank) - lower
    per_s = sum(arrivals.per_s(role, lane, each) for each in range(rank))
    return per_s, max(base, lower + (own + 1) * CYCLE)
