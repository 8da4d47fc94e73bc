"""The rank of a request, from the requests of its user and of its account. Pure (C6)."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from msgspec import Struct

from penstock.contract.names import RANKS

__all__ = ["RANK_BOUNDS", "AccountShare", "AccountTurns", "rank_of"]

RANK_BOUNDS: Final = (4, 32, 256, 2048)
"""Requests of a user in a mailbox from which the next one has at least rank 1, 2, 3 and 4.

Each bound is 8 times the one before. A user with k requests in the mailbox, up to 2047, gets a rank up to which no
other user of its account has more than 8 k at that moment, or 4. From 2048 on it is first come, first served. Ranks
instead of a queue per user: they cost five consumers.
"""
_FULL_SLOTS: Final = 2
"""Requests per slot that all accounts together may have in rank 0: one that runs, and one that waits for it."""


class AccountTurns:
    """The requests of one account in a mailbox, counted by turn.

    If the users of an account take turns, the j-th request of each user is served in turn j. A user's next request
    therefore has ahead of it as many requests of each user as this user has, and one more.
    """

    def __init__(self) -> None:
        self._by_turn: list[int] = []
        """How many users have at least 1, 2, 3, ... requests, up to the last bound."""
        self.requests = 0

    def change(self, before: int, after: int) -> None:
        """A user with `before` requests has `after`."""
        self.requests += after - before
        turns = self._by_turn
        last = min(max(before, after), RANK_BOUNDS[-1])
        turns.extend([0] * (last - len(turns)))
        for turn in range(min(before, last), min(after, last)):
            turns[turn] += 1
        for turn in range(min(after, last), min(before, last)):
            turns[turn] -= 1

    def position(self, own: int) -> int:
        """How many requests of the account are ahead of the next one of a user with `own` requests."""
        return max(own, sum(self._by_turn[: own + 1]))


class AccountShare(Struct, frozen=True):
    """What an account may use of a mailbox."""

    slots: int = 0
    """The slots of the role and lane, over all workers; 0: not known."""
    weight: float = 1.0
    """The weight of the account: with 2 it has bounds twice as high."""


def rank_of(own: int, position: int, slots: float = 0, weight: float = 1.0) -> int:
    """The rank of a request of a user with `own` requests, behind `position` requests of its account.

    `slots`: the account's equal share of the slots. While it exceeds the first bound, the bounds of the position are
    higher in proportion: as much as an account can run soon does not give its requests a higher rank.
    """
    first = max(RANK_BOUNDS[0], _FULL_SLOTS * slots)
    highest = max(own, position * RANK_BOUNDS[0] / first) / weight
    return RANKS[bisect_right(RANK_BOUNDS, highest)]
