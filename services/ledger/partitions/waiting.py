"""Holds that wait until others are released, in the order of arrival, bounded in number and in time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from penstock.contract.ledger.holds import HoldRefused, HoldRequest
from services.ledger.partitions.asked import AskedHold

__all__ = ["Waiter", "Waiting"]

_MOST: Final = 1_000
_MOST_PER_ACCOUNT: Final = 64


class Waiter(Struct, frozen=True):
    asked: AskedHold
    refusal: HoldRefused
    """The answer when the wait is over."""
    until_s: float
    """Monotonic seconds."""


class Waiting:
    """The waiting holds of one partition.

    Whenever something is released, those of the account are decided again in the order of arrival. A request that fits
    does not wait behind one that does not: a large request would otherwise stop all others while most of the budget is
    free. The large one waits for a short time only, and is then refused.
    """

    def __init__(self, most: int = _MOST, most_per_account: int = _MOST_PER_ACCOUNT) -> None:
        self._most = most
        self._most_per_account = most_per_account
        self._by_account: dict[str, dict[str, Waiter]] = {}
        """Account -> id of the hold -> waiter, in the order of arrival."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def accounts(self) -> tuple[str, ...]:
        return tuple(self._by_account)

    def requests(self, account: str) -> tuple[HoldRequest, ...]:
        """The waiting requests of an account, in the order of arrival."""
        return tuple(each.asked.request for each in self._by_account.get(account, {}).values())

    def add(self, waiter: Waiter) -> Waiter | None:
        """Let a request wait. The same request asked again keeps its place.

        Returns the waiter that must be answered because too many wait: this one, or the latest of the account with the
        most, so that no account takes the places of all others.
        """
        request = waiter.asked.request
        of_account = self._by_account.get(request.account, {})
        turned_away = None
        if request.id not in of_account:
            if len(of_account) >= self._most_per_account:
                return waiter
            if self._count >= self._most:
                largest = max(self._by_account.values(), key=len)
                if len(largest) <= len(of_account) + 1:
                    return waiter
                turned_away = next(reversed(largest.values()))
                self.discard(turned_away.asked.request)
            self._count += 1
        self._by_account.setdefault(request.account, {})[request.id] = waiter
        return turned_away

    def discard(self, request: HoldRequest) -> None:
        """Forget a request, which was answered when it was asked again."""
        if request.id in self._by_account.get(request.account, {}):
            self._remove(request.account, request.id)

    def admit(self, account: str, decide: Callable[[Waiter], HoldRefused | None]) -> None:
        """Offer each waiter of an account to `decide` in the order of arrival.

        `decide` returns the refusal with which a request goes on waiting; None: it was answered.
        """
        for hold_id, waiter in list(self._by_account.get(account, {}).items()):
            refusal = decide(waiter)
            if refusal is None:
                self._remove(account, hold_id)
            else:  # the reason may have changed
                self._by_account[account][hold_id] = replace(waiter, refusal=refusal)

    def take_expired(self, now_s: float) -> Iterator[Waiter]:
        """Remove and return the requests whose wait is over."""
        for account, of_account in list(self._by_account.items()):
            for hold_id, waiter in list(of_account.items()):
                if waiter.until_s <= now_s:
                    self._remove(account, hold_id)
                    yield waiter

    def take_all(self) -> Iterator[Waiter]:
        """Remove and return every request."""
        for of_account in self._by_account.values():
            yield from of_account.values()
        self._by_account, self._count = {}, 0

    def _remove(self, account: str, hold_id: str) -> None:
        of_account = self._by_account[account]
        del of_account[hold_id]
        self._count -= 1
        if not of_account:
            del self._by_account[account]
