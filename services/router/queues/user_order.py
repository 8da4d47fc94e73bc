"""Keeps the requests of one user in order: none gets a lower rank than an earlier one that still waits. Pure (C6)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from math import inf
from typing import Final

from penstock.contract.subjects import WorkAddress

__all__ = ["MailboxRank", "UserOrder"]

MailboxRank = tuple[str, str, int]
"""A role, a lane and a rank: what one consumer delivers."""
_NOT_COUNTED: Final = inf
"""The sequence of a request that no snapshot has counted yet."""


class UserOrder:
    """The ranks above 0 in which a user has requests that no worker has taken.

    The server counts what waits and what runs together. A request that was stored by a snapshot has a sequence up to
    the stream's last one at that time, and it was taken when the consumer of its rank delivered a later sequence. A
    rank is forgotten up to one interval of snapshots late.
    """

    def __init__(self) -> None:
        self._latest: defaultdict[tuple[str, str, str], dict[int, tuple[int, float]]] = defaultdict(dict)
        """By role, lane and flow: by rank, the number of requests and a bound on the sequence of the latest."""
        self._taken: Mapping[MailboxRank, int] = {}

    def record(self, address: WorkAddress) -> None:
        """A request is about to be stored in a rank above 0."""
        latest = self._of(address)
        count, _ = latest.get(address.rank, (0, 0.0))
        latest[address.rank] = (count, _NOT_COUNTED)

    def lowest_rank(self, role: str, lane: str, flow: str) -> int:
        """The lowest rank that the user's next request may have."""
        latest = self._latest.get((role, lane, flow))
        if not latest:
            return 0
        lowest = 0
        for rank, (_, sequence) in latest.items():
            if rank > lowest and sequence > self._taken.get((role, lane, rank), 0):
                lowest = rank
        return lowest

    def snapshot(
        self,
        counts: Mapping[WorkAddress, int],
        uncounted: Iterable[WorkAddress],
        last_sequence: int,
        taken: Mapping[MailboxRank, int],
    ) -> None:
        """Take the server's counts. `uncounted`: requests that may be missing from them.

        `taken`: the last sequence that each rank had delivered then or later, or `last_sequence` where none waited.
        """
        former, self._latest = self._latest, defaultdict(dict)
        self._taken = taken
        for address, count in counts.items():
            if address.rank == 0:
                continue
            before, sequence = former.get(address[:2] + address[3:], {}).get(address.rank, (0, 0.0))
            added = count > before or sequence == _NOT_COUNTED
            self._of(address)[address.rank] = (count, last_sequence if added else sequence)
        for address in uncounted:
            if address.rank > 0:
                self.record(address)

    def _of(self, address: WorkAddress) -> dict[int, tuple[int, float]]:
        return self._latest[address.role, address.lane, address.flow]
