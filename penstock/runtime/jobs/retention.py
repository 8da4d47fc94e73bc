"""Which records of jobs are forgotten where there is no room for more: ended ones, of whoever has most of them."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from penstock.contract.jobs import Job

__all__ = ["Forgettable", "may_be_forgotten", "to_forget"]

_SETTLED_MS: Final = 60_000
"""A worker killed between the record of an end and its telling is replaced long before, and finds the record."""


class Forgettable(Struct, frozen=True):
    """A record that may go."""

    account: str
    sequence: int
    """In the stream: the older its last change, the lower."""


def may_be_forgotten(job: Job | None, now_ms: int) -> bool:
    """`job`: None for what is no record. Whoever waits or runs never, and whoever was worked on not at once."""
    if job is None:
        return True
    return job.ended and (job.attempt == 0 or now_ms - job.at_ms >= _SETTLED_MS)


def to_forget(found: Iterable[Forgettable], number: int) -> list[int]:
    """The sequences of `number` of them: each time the oldest of the account that has the most left."""
    of_account: defaultdict[str, list[int]] = defaultdict(list)
    for each in found:
        of_account[each.account].append(each.sequence)
    for sequences in of_account.values():
        sequences.sort(reverse=True)
    most = [(-len(sequences), account) for account, sequences in of_account.items()]
    heapq.heapify(most)
    chosen: list[int] = []
    while most and len(chosen) < number:
        left, account = most[0]
        chosen.append(of_account[account].pop())
        if left == -1:
            heapq.heappop(most)
        else:
            heapq.heapreplace(most, (left + 1, account))
    return chosen
