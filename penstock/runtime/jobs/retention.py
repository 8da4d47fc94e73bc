"""Chooses the job records that make way for new ones: ended ones, of the account with the most of them."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from penstock.contract.jobs import Job

__all__ = ["RemovableRecord", "choose_removals", "is_removable"]

_MIN_AGE_MS: Final = 60_000
"""Milliseconds an ended job is kept at least. A worker killed between the record and the reply event is replaced
sooner, and its successor needs the record."""


class RemovableRecord(Struct, frozen=True):
    """A record that may be removed."""

    account: str
    sequence: int
    """The sequence in the stream; lower for an older last change."""


def is_removable(job: Job | None, now_ms: int) -> bool:
    """Whether the job has ended, and if it had an attempt, long enough ago. `job`: None for an unreadable record."""
    if job is None:
        return True
    return job.ended and (job.attempt == 0 or now_ms - job.at_ms >= _MIN_AGE_MS)


def choose_removals(found: Iterable[RemovableRecord], number: int) -> list[int]:
    """The sequences of `number` records: each time the oldest of the account with the most remaining."""
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
