"""The bytes of each account in `LLM_REPLIES` by age, from the heartbeats of all workers, and who has too many. No I/O.

Times are monotonic seconds of this process, and ages are relative to now.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Final

from msgspec import Struct, field

from penstock.contract.presence import REPLY_SLOT_S, AccountReplies
from penstock.contract.streams import REPLIES, REPLIES_LEAST_AGE_S, REPLIES_SCARCE
from penstock.contract.subjects import is_token

__all__ = ["FULL", "PRESSING", "TARGET", "AccountBytes", "Deletions", "StoredReplies", "deletions", "level"]

FULL: Final = 0.875
"""The fill of the stream from which on replies are deleted."""
TARGET: Final = 0.8125
"""The fill at which no more are."""
PRESSING: Final = 0.984375
"""The fill from which on replies that are being written or read are deleted too: small ones would soon displace those
of any account."""
_LEAST_SHARE: Final = 0.0625
"""The share of the stream that every account may have, however many there are."""
_UNFINISHED_S: Final = 120
"""Seconds for which a large reply that is not finished is kept."""
_UNFINISHED_SCARCE_S: Final = 30
"""The same while other accounts wait for room: a slow reply keeps all that its account has stored since it began."""
_LATE_S: Final = 3
"""Seconds by which a worker may count bytes earlier than the server stores them, or later than it sent them."""
_MOST_WORKERS: Final = 1000


class AccountBytes(Struct):
    """What one account has stored."""

    slots: list[tuple[float, int]] = field(default_factory=list)
    """Pairs of (age of the slot's end, bytes), the youngest first. A slot lasts `REPLY_SLOT_S`."""
    unfinished_s: float = 0.0
    """Age of its oldest large reply that is not finished."""

    @property
    def total(self) -> int:
        return sum(size for _, size in self.slots)

    def forget_before(self, age_s: float) -> None:
        """What is older has been deleted."""
        self.slots = [(slot_s, size) for slot_s, size in self.slots if slot_s <= age_s + _LATE_S]

    def kept_s(self, most: float, needed_s: float = 0.0) -> float:
        """The age up to which replies are kept for an account that may have `most` bytes. `needed_s`: the age up to
        which they are needed.
        """
        return max(self._age_of(most), needed_s, REPLIES_LEAST_AGE_S)

    def needed_s(self, fill: float, unread_s: float, *, is_alone: bool) -> float:
        """The age up to which replies are being written or read, as far as that counts at this fill of the stream.
        `unread_s`: age of the oldest event that a live reader needs; `is_alone`: no other account is known to have
        stored anything.
        """
        if fill > PRESSING:
            return 0.0
        others_wait = fill > REPLIES_SCARCE and not is_alone
        kept_s = _UNFINISHED_SCARCE_S if others_wait else _UNFINISHED_S
        writing_s = self.unfinished_s if self.unfinished_s <= kept_s else 0.0
        return writing_s if others_wait else max(writing_s, unread_s)

    def _age_of(self, most: float) -> float:
        total = 0
        for slot_s, size in self.slots:
            total += size
            if total > most:
                return max(0.0, slot_s - _LATE_S)
        return REPLIES.max_age_s


class _Report(Struct, frozen=True):
    at_s: float
    replies: tuple[AccountReplies, ...]


class StoredReplies:
    """The latest report of each worker, kept for as long as replies are stored: they outlive their worker."""

    def __init__(self) -> None:
        self._reports: dict[str, _Report] = {}
        """By worker, in the order of the latest report."""

    def observe(self, instance: str, replies: tuple[AccountReplies, ...], now_s: float) -> None:
        if not replies and instance not in self._reports:
            return
        self._reports.pop(instance, None)
        self._reports[instance] = _Report(now_s, replies)
        if len(self._reports) > _MOST_WORKERS:
            del self._reports[next(iter(self._reports))]

    def accounts(self, now_s: float) -> dict[str, AccountBytes]:
        """Everything that was reported and is not too old."""
        found: defaultdict[str, AccountBytes] = defaultdict(AccountBytes)
        for instance, report in list(self._reports.items()):
            since_s = now_s - report.at_s
            if since_s > REPLIES.max_age_s:
                del self._reports[instance]
                continue
            for each in report.replies:
                if is_token(each.account):
                    _add(found[each.account], each, since_s)
        for account in found.values():
            account.slots.sort()
        return found


class Deletions(Struct, frozen=True):
    """What makes room in a stream that is nearly full. Times are ages in seconds."""

    kept_s: Mapping[str, float]
    """Of each account with too many bytes the age up to which its replies are kept."""
    all_kept_s: float
    """The age up to which the replies of all accounts are kept, where none has too many."""
    heaviest: float
    """The share of the stream that the account with the most has."""


def deletions(
    accounts: Mapping[str, AccountBytes], stored: int, bound: int, unread_s: Mapping[str, float]
) -> Deletions:
    """`stored`: bytes in the stream, of which `accounts` know a part; `bound`: the most. `unread_s`: of any account the
    age of the oldest event that a live reader needs.
    """
    totals = [each.total for each in accounts.values()]
    most = level(totals, TARGET * bound - max(0, stored - sum(totals)), _LEAST_SHARE * bound)
    fill, is_alone = stored / bound, len(accounts) == 1
    oldest_unread_s = max(unread_s.values(), default=0.0)
    writing_s = [each.needed_s(fill, 0.0, is_alone=False) for each in accounts.values()]
    return Deletions(
        {
            name: each.kept_s(most, each.needed_s(fill, unread_s.get(name, 0.0), is_alone=is_alone))
            for name, each in accounts.items()
            if each.total > most
        },
        max([REPLIES_LEAST_AGE_S, *writing_s, 0.0 if fill > REPLIES_SCARCE else oldest_unread_s]),
        min(1.0, max(totals, default=0) / bound),
    )


def _add(account: AccountBytes, reported: AccountReplies, since_s: float) -> None:
    ends = ((age_s - REPLY_SLOT_S + since_s, size) for age_s, size in reported.stored)
    account.slots += [(end_s, size) for end_s, size in ends if end_s < REPLIES.max_age_s]
    if reported.unfinished_s and since_s < REPLIES_LEAST_AGE_S:
        account.unfinished_s = max(account.unfinished_s, reported.unfinished_s + since_s)


def level(stored: Collection[int], room: float, least: float) -> float:
    """The most bytes that an account may have, so that all of them have at most `room` together: accounts with less
    keep everything, and the others the same. At least `least`.
    """
    left = room
    rising = sorted(stored)
    for index, size in enumerate(rising):
        equal = left / (len(rising) - index)
        if size > equal:
            return max(equal, least)
        left -= size
    return max(room, least)
