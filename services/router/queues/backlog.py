"""Backlog of each mailbox per user, known without a request to the server, and the rank that follows from it (C6)."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from math import inf
from typing import Final

from penstock.contract.names import RANKS
from penstock.contract.subjects import WorkAddress, account_of_flow, work_address
from services.router.queues.priority import AccountShare, AccountTurns, rank_of
from services.router.queues.user_order import MailboxRank, UserOrder

__all__ = ["Backlog", "MailboxCount", "RolesCount"]

_COUNTS: Final = 100
"""Number of counts that are remembered: at least ten seconds."""
_NONE_TAKEN: Final[Mapping[MailboxRank, int]] = {}
_EQUAL_SHARE: Final = AccountShare()


class RolesCount:
    """The requests in the mailboxes of several roles, including the estimate for other routers."""

    __slots__ = ("batch", "interactive")

    def __init__(self, interactive: int = 0, batch: int = 0) -> None:
        self.interactive = interactive
        self.batch = batch


class MailboxCount:
    """The requests of one role and lane."""

    __slots__ = ("accounts", "by_rank", "flows", "observed", "queued", "sums")

    def __init__(self) -> None:
        self.queued = 0
        """Including the estimate for other routers."""
        self.observed = 0
        """Without that."""
        self.by_rank = [0] * len(RANKS)
        """As `queued`."""
        self.flows: dict[str, int] = {}
        self.accounts: dict[str, AccountTurns] = {}
        """By `subjects.account_of_flow`: those with requests at the latest snapshot or since."""
        self.sums: list[RolesCount] = []
        """The counts of several roles of which this is one."""


class Backlog:
    """The server's counts of about a second ago, plus the requests this router has enqueued since.

    Work counts until it is acknowledged, so running requests count too. Requests that ended since the last snapshot
    still count: a user who sends requests quickly one after another may get a higher rank number than is due, which
    makes no difference while nothing waits. Requests of other routers appear with the next snapshot; until then each
    router is taken to enqueue as many as this one, of any users.

    The cost of a call does not grow with the number of requests, users or roles, but that of a snapshot does.
    """

    def __init__(self) -> None:
        self.routers = 1
        """Routers that shared the requests at the last snapshot, this one included."""
        self.counted_s: float | None = None
        """When the latest count was requested, on this process's monotonic clock; None: not yet."""
        self._mailboxes: defaultdict[tuple[str, str], MailboxCount] = defaultdict(MailboxCount)
        self._all_roles: dict[tuple[str, str], int] = {}
        self._sums: dict[tuple[str, ...], RolesCount] = {}
        self._order = UserOrder()
        self._since: Counter[WorkAddress] = Counter()
        self._reserved: Counter[WorkAddress] = Counter()
        self._departures: deque[tuple[float, int]] = deque(maxlen=_COUNTS)

    def roles(self) -> set[str]:
        """The roles with requests in a mailbox."""
        return {role for (role, _), mailbox in self._mailboxes.items() if mailbox.observed > 0}

    def mailbox(self, role: str, lane: str) -> MailboxCount:
        """The count of a mailbox, which changes until the next snapshot replaces it."""
        return self._mailboxes[role, lane]

    def queued(self, role: str, lane: str) -> int:
        """Requests in a mailbox, including the estimate for other routers."""
        return self._mailboxes[role, lane].queued

    def queued_of(self, roles: tuple[str, ...]) -> RolesCount:
        """The sums of `queued` over `roles`; only the first call after a snapshot adds them up."""
        found = self._sums.get(roles)
        if found is None:
            found = self._sums[roles] = RolesCount()
            for role in roles:
                interactive, batch = self._mailboxes[role, "interactive"], self._mailboxes[role, "batch"]
                found.interactive += interactive.queued
                found.batch += batch.queued
                interactive.sums.append(found)
                batch.sums.append(found)
        return found

    def ahead(self, role: str, lane: str, rank: int) -> int:
        """Requests ahead of one that is enqueued in `rank` now: those of its own and of lower ranks."""
        return sum(self._mailboxes[role, lane].by_rank[: rank + 1])

    def observed(self, role: str, lane: str) -> int:
        """Requests in a mailbox, without the estimate for other routers."""
        return self._mailboxes[role, lane].observed

    def of_flow(self, role: str, lane: str, flow: str) -> int:
        """Requests of one flow in a mailbox, over all ranks."""
        return self._mailboxes[role, lane].flows.get(flow, 0)

    def of_flow_anywhere(self, lane: str, flow: str) -> int:
        """Requests of one flow in the mailboxes of all roles."""
        return self._all_roles.get((lane, flow), 0)

    def of_account(self, role: str, lane: str, account: str) -> int:
        """Requests of all flows of one account (`subjects.account_of_flow`) in a mailbox."""
        turns = self._mailboxes[role, lane].accounts.get(account)
        return 0 if turns is None else turns.requests

    def rank_for(self, role: str, lane: str, flow: str, share: AccountShare = _EQUAL_SHARE) -> int:
        """The rank of the next request of `flow`."""
        mailbox = self._mailboxes[role, lane]
        own = mailbox.flows.get(flow, 0)
        turns = mailbox.accounts.get(account_of_flow(flow))
        position = 0 if turns is None else turns.position(own)
        accounts = len(mailbox.accounts) + (turns is None)
        rank = rank_of(own, position, share.slots / accounts, share.weight)
        return max(rank, self._order.lowest_rank(role, lane, flow))

    def reserve(self, address: WorkAddress) -> None:
        """Count one more request from now on, before it is stored: other requests are decided meanwhile."""
        self._reserved[address] = self._reserved.get(address, 0) + 1
        if address.rank > 0:
            self._order.record(address)
        self._add(address, 1, self.routers)

    def commit(self, address: WorkAddress) -> None:
        """A reserved request is stored; a snapshot requested before may lack it."""
        self._reserved[address] -= 1
        self._since[address] = self._since.get(address, 0) + 1

    def release(self, address: WorkAddress) -> None:
        """A reserved request will not be stored."""
        self._reserved[address] -= 1
        self._add(address, -1, -self.routers)

    def begin_count(self) -> None:
        """A snapshot is requested now: requests stored from here on may be missing from it, and count extra."""
        self._since.clear()

    def snapshot(
        self,
        counts: Mapping[str, int],
        routers: int,
        last_sequence: int = 0,
        taken: Mapping[MailboxRank, int] = _NONE_TAKEN,
    ) -> None:
        """Replace the counts by the server's: messages per subject. Other subjects than work are ignored.

        `routers`: routers that share the requests from now on, this one included. `last_sequence` and `taken`: see
        `UserOrder.snapshot`.
        """
        self._mailboxes.clear()
        self._all_roles.clear()
        self._sums.clear()
        counted = {address: count for each, count in counts.items() if (address := work_address(each))}
        for address, count in counted.items():
            self._add(address, count, count)
        self._reserved = +self._reserved
        self.routers = routers
        uncounted = self._since + self._reserved
        for address, count in uncounted.items():
            self._add(address, count, count * self.routers)
        self._order.snapshot(counted, uncounted, last_sequence, taken)

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
        mailbox = self._mailboxes[role, lane]
        mailbox.queued += in_all
        mailbox.observed += count
        mailbox.by_rank[rank] += in_all
        for each in mailbox.sums:
            if lane == "batch":
                each.batch += in_all
            else:
                each.interactive += in_all
        before = mailbox.flows.get(flow, 0)
        mailbox.flows[flow] = before + count
        self._all_roles[lane, flow] = self._all_roles.get((lane, flow), 0) + count
        account = account_of_flow(flow)
        turns = mailbox.accounts.get(account)
        if turns is None:
            turns = mailbox.accounts[account] = AccountTurns()
        turns.change(before, before + count)
