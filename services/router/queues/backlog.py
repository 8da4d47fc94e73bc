"""Backlog of each mailbox per user, known without a request to the server, and the rank that follows from it (C6)."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Mapping
from math import inf
from typing import Final

from penstock.contract.names import RANKS
from penstock.contract.subjects import WorkAddress, account_of_flow, work_address

__all__ = ["RANK_BOUNDS", "Backlog", "rank_of"]

_COUNTS: Final = 100
"""Number of counts that are remembered: at least ten seconds."""
RANK_BOUNDS: Final = (4, 32, 256)
"""Requests of a user in a mailbox from which the next one has rank 1, 2 and 3.

Each bound is 8 times the one before. A user with k requests in the mailbox, up to 255, gets a rank up to which no other
user has more than 8 k at that moment, or 4: the thousands of a busy user are all behind. From 256 on it is first come,
first served. Ranks instead of a queue per user: they cost four consumers.
"""


class Backlog:
    """The server's counts of about a second ago, plus the requests this router has enqueued since.

    Work counts until it is acknowledged, so running requests count too. Requests that ended since the last snapshot
    still count: a user who sends requests quickly one after another may get a higher rank number than is due, which
    makes no difference while nothing waits. Requests of other routers appear with the next snapshot; until then each
    router is taken to enqueue as many as this one, of any users.
    """

    def __init__(self) -> None:
        self.routers = 1
        """Routers that shared the requests at the last snapshot, this one included."""
        self.counted_s: float | None = None
        """When the latest count was requested, on this process's monotonic clock; None: not yet."""
        self._mailboxes: Counter[tuple[str, str]] = Counter()
        self._ranks: Counter[tuple[str, str, int]] = Counter()
        self._observed: Counter[tuple[str, str]] = Counter()
        self._flows: Counter[tuple[str, str, str]] = Counter()
        self._all_roles: Counter[tuple[str, str]] = Counter()
        self._accounts: Counter[tuple[str, str, str]] = Counter()
        self._since: Counter[WorkAddress] = Counter()
        self._reserved: Counter[WorkAddress] = Counter()
        self._departures: deque[tuple[float, int]] = deque(maxlen=_COUNTS)

    def roles(self) -> set[str]:
        """The roles with requests in a mailbox."""
        return {role for (role, _), count in self._observed.items() if count > 0}

    def queued(self, role: str, lane: str) -> int:
        """Requests in a mailbox, including the estimate for other routers."""
        return self._mailboxes[role, lane]

    def ahead(self, role: str, lane: str, rank: int) -> int:
        """Requests ahead of one that is enqueued in `rank` now: those of its own and of lower ranks."""
        return sum(self._ranks[role, lane, each] for each in range(rank + 1))

    def observed(self, role: str, lane: str) -> int:
        """Requests in a mailbox, without the estimate for other routers."""
        return self._observed[role, lane]

    def of_flow(self, role: str, lane: str, flow: str) -> int:
        """Requests of one flow in a mailbox, over all ranks."""
        return self._flows[role, lane, flow]

    def of_flow_anywhere(self, lane: str, flow: str) -> int:
        """Requests of one flow in the mailboxes of all roles."""
        return self._all_roles[lane, flow]

    def of_account(self, role: str, lane: str, account: str) -> int:
        """Requests of all flows of one account (`subjects.account_of_flow`) in a mailbox."""
        return self._accounts[role, lane, account]

    def reserve(self, address: WorkAddress) -> None:
        """Count one more request from now on, before it is stored: other requests are decided meanwhile."""
        self._reserved[address] += 1
        self._add(address, 1, self.routers)

    def commit(self, address: WorkAddress) -> None:
        """A reserved request is stored; a snapshot requested before may lack it."""
        self._reserved[address] -= 1
        self._since[address] += 1

    def release(self, address: WorkAddress) -> None:
        """A reserved request will not be stored."""
        self._reserved[address] -= 1
        self._add(address, -1, -self.routers)

    def begin_count(self) -> None:
        """A snapshot is requested now: requests stored from here on may be missing from it, and count extra."""
        self._since.clear()

    def snapshot(self, counts: Mapping[str, int], routers: int) -> None:
        """Replace the counts by the server's: messages per subject. Other subjects than work are ignored.

        `routers`: routers that share the requests from now on, this one included.
        """
        self._mailboxes.clear()
        self._ranks.clear()
        self._observed.clear()
        self._flows.clear()
        self._all_roles.clear()
        self._accounts.clear()
        for subject, count in counts.items():
            address = work_address(subject)
            if address is not None:
                self._add(address, count, count)
        self._reserved = +self._reserved
        self.routers = routers
        for address, count in (self._since + self._reserved).items():
            self._add(address, count, count * self.routers)

    def record_departures(self, total: int, now_s: float) -> None:
        """`total` requests had left the mailboxes by now; a recreated stream starts again at zero."""
        if self._departures and total < self._departures[-1][1]:
            self._departures.clear()
        self._departures.append((now_s, total))

    def departures_since(self, since_s: float) -> float:
        """Upper bound on the requests that left between `since_s` and the last count; infinite if not known."""
        for counted_s, total in reversed(self._departures):
            if counted_s <= since_s:
                return self._departures[-1][1] - total
        return inf

    def _add(self, address: WorkAddress, count: int, in_all: int) -> None:
        """`in_all`: including the estimate for other routers."""
        role, lane, rank, flow = address
        self._mailboxes[role, lane] += in_all
        self._ranks[role, lane, rank] += in_all
        self._observed[role, lane] += count
        self._flows[role, lane, flow] += count
        self._all_roles[lane, flow] += count
        self._accounts[role, lane, account_of_flow(flow)] += count


def rank_of(waiting: int) -> int:
    """Rank of the next request of a user with `waiting` requests queued or running in the same role and lane."""
    return RANKS[bisect_right(RANK_BOUNDS, waiting)]
