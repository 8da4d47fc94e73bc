"""Which rank of a mailbox a request goes to: the more its user has in there already, the later its turn (C6)."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from penstock.contract.names import RANKS

__all__ = ["BOUNDS", "rank_of"]

BOUNDS: Final = (4, 32, 256)
"""A user's first 4 requests in a mailbox go to rank 0, up to 32 to rank 1, up to 256 to rank 2, the rest to rank 3.

Each bound is 8 times the one before. Whoever has k requests in the mailbox, up to 255, gets a rank up to which no other
user has more than 8 k at that moment, or 4: however many thousands that one has behind, they are behind. From 256 on
it is first come, first served. Ranks instead of a queue for each user: four consumers are all they cost.
"""


def rank_of(waiting: int) -> int:
    """For the next request of a user who has `waiting` queued or running in the same role and lane."""
    return RANKS[bisect_right(BOUNDS, waiting)]
