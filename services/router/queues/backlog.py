"""How much waits in each mailbox, and whose it is, without asking at each request."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from math import inf
from typing import Final

from penstock.contract.subjects import WorkAddress, account_of_flow, work_address

__all__ = ["Backlog"]

_COUNTS: Final = 100
"""Kept: ten seconds of them, and more."""


class Backlog:
    """The server's counts of about a second ago, and what this router has put in since.

    Work counts until it is acknowledged, so what runs counts too. What was finished since the last snapshot still
    counts: somebody who asks one after another, fast, seems to have more in there than is true, and gets a later rank
    than is due. Where nothing waits, all ranks are served at once and nobody notices. Other routers' work is seen with
    the next snapshot; until then each of them is taken to put in as much as this one, of whichever users.
    """

    def __init__(self) -> None:
        self.routers = 1
        """How many shared the requests at the last snapshot, this one included."""
        self.counted_s: float | None = None
        """When the server was last asked for its counts, on this process's monotonic clock; None: not yet."""
        self._mailboxes: Counter[tuple[str, str]] = Counter()
        self._ranks: Counter[tuple[str, str, int]] = Counter()
        self._known: Counter[tuple[str, str]] = Counter()
        self._flows: Counter[tuple[str, str, str]] = Counter()
        self._anywhere: Counter[tuple[str, str]] = Counter()
        self._accounts: Counter[tuple[str, str, str]] = Counter()
        self._since: Counter[WorkAddress] = Counter()
        self._reserved: Counter[WorkAddress] = Counter()
        self._left: deque[tuple[float, int]] = deque(maxlen=_COUNTS)

    def queued(self, role: str, lane: str) -> int:
        """All that is in a mailbox."""
        return self._mailboxes[role, lane]

    def ahead(self, role: str, lane: str, rank: int) -> int:
        """What goes before one that is put into `rank` now: all of its own and of lower ranks."""
        return sum(self._ranks[role, lane, each] for each in range(rank + 1))

    def known(self, role: str, lane: str) -> int:
        """The same without what other routers are only taken to have put in."""
        return self._known[role, lane]

    def of_flow(self, role: str, lane: str, flow: str) -> int:
        """What one flow has in a mailbox, over all ranks."""
        return self._flows[role, lane, flow]

    def of_flow_anywhere(self, lane: str, flow: str) -> int:
        """What one flow has in the mailboxes of all roles."""
        return self._anywhere[lane, flow]

    def of_account(self, role: str, lane: str, account: str) -> int:
        """What all flows of one account (`subjects.account_of_flow`) have in a mailbox."""
        return self._accounts[role, lane, account]

    def reserve(self, address: WorkAddress) -> None:
        """One more will be put in there: it counts from now on, others are decided meanwhile."""
        self._reserved[address] += 1
        self._add(address, 1, self.routers)

    def stored(self, address: WorkAddress) -> None:
        """One that was reserved is in the mailbox; until then no snapshot had it for certain."""
        self._reserved[address] -= 1
        self._since[address] += 1

    def give_back(self, address: WorkAddress) -> None:
        """One that was reserved will not come."""
        self._reserved[address] -= 1
        self._add(address, -1, -self.routers)

    def asking(self) -> None:
        """The server is asked now: what is stored from here on may or may not be in its answer, and counts."""
        self._since.clear()

    def snapshot(self, counts: Mapping[str, int], routers: int) -> None:
        """The server's answer: messages per subject. What is no work subject counts nowhere.

        `routers`: how many share the requests from now on, this one included.
        """
        self._mailboxes.clear()
        self._ranks.clear()
        self._known.clear()
        self._flows.clear()
        self._anywhere.clear()
        self._accounts.clear()
        for subject, count in counts.items():
            address = work_address(subject)
            if address is not None:
                self._add(address, count, count)
        self._reserved = +self._reserved
        self.routers = routers
        for address, count in (self._since + self._reserved).items():
            self._add(address, count, count * self.routers)

    def left(self, total: int, now_s: float) -> None:
        """So many had left the mailboxes by now, of all that ever came; a stream made anew begins at nothing."""
        if self._left and total < self._left[-1][1]:
            self._left.clear()
        self._left.append((now_s, total))

    def left_since(self, since_s: float) -> float:
        """The most that can have left the mailboxes between then and the last count; infinite: nobody knows."""
        for counted_s, total in reversed(self._left):
            if counted_s <= since_s:
                return self._left[-1][1] - total
        return inf

    def _add(self, address: WorkAddress, count: int, in_all: int) -> None:
        """`in_all`: with what other routers put there meanwhile."""
        role, lane, rank, flow = address
        self._mailboxes[role, lane] += in_all
        self._ranks[role, lane, rank] += in_all
        self._known[role, lane] += count
        self._flows[role, lane, flow] += count
        self._anywhere[lane, flow] += count
        self._accounts[role, lane, account_of_flow(flow)] += count
