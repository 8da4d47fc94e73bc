"""The bytes that this worker stored in `LLM_REPLIES` lately, by account and age. No I/O."""

from __future__ import annotations

from collections import deque
from math import ceil
from typing import Final

from penstock.contract.presence import REPLY_SLOT_S, AccountReplies
from penstock.contract.streams import REPLIES

__all__ = ["StoredBytes"]

_MOST_ACCOUNTS: Final = 1000
"""Accounts that are counted at once; those with the least are dropped."""
_MOST_REPORTED: Final = 8


class StoredBytes:
    """Times are seconds of one monotonic clock."""

    def __init__(self, least_reported: int) -> None:
        """`least_reported`: accounts with fewer bytes are not reported."""
        self._least_reported = least_reported
        self._slots: dict[str, deque[list[int]]] = {}
        """Of each account (slot of time, bytes), the oldest first."""

    def add(self, account: str, size: int, now_s: float) -> None:
        slot = int(now_s) // REPLY_SLOT_S
        slots = self._slots.get(account)
        if slots is None:
            slots = self._slots[account] = deque()
        if slots and slots[-1][0] == slot:
            slots[-1][1] += size
        else:
            slots.append([slot, size])

    def report(self, unfinished_s: dict[str, float], now_s: float) -> tuple[AccountReplies, ...]:
        """The accounts with the most bytes. `unfinished_s`: of accounts that have any, when the oldest large reply that
        is not finished began.
        """
        totals = self._prune(int(now_s) // REPLY_SLOT_S)
        most = sorted(totals, key=totals.__getitem__, reverse=True)[:_MOST_REPORTED]
        return tuple(
            AccountReplies(
                account=account,
                stored=self._by_age(account, now_s),
                unfinished_s=int(now_s - unfinished_s[account]) + 1 if account in unfinished_s else 0,
            )
            for account in most
            if totals[account] >= self._least_reported
        )

    def _by_age(self, account: str, now_s: float) -> tuple[tuple[int, int], ...]:
        slots = reversed(self._slots[account])
        return tuple((ceil(now_s - slot * REPLY_SLOT_S), size) for slot, size in slots)

    def _prune(self, slot: int) -> dict[str, int]:
        """Drop what is too old or too much; returns the bytes of each account that is left."""
        oldest = slot - REPLIES.max_age_s // REPLY_SLOT_S
        totals: dict[str, int] = {}
        for account, slots in list(self._slots.items()):
            while slots and slots[0][0] < oldest:
                slots.popleft()
            if slots:
                totals[account] = sum(size for _, size in slots)
            else:
                del self._slots[account]
        for account in sorted(totals, key=totals.__getitem__)[: max(0, len(totals) - _MOST_ACCOUNTS)]:
            del self._slots[account], totals[account]
        return totals
