"""Holds that wait until others are released: first come, first served, bounded in number and in time."""

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
Bottleneck = tuple[str, str]


class Waiter(Struct, frozen=True):
    asked: AskedHold
    refusal: HoldRefused
    """The answer when the wait is over."""
    until_s: float
    """Monotonic seconds."""


class Waiting:
    """The waiting holds of one partition.

    A request waits for the scope whose limit it does not fit. Later requests of the same scope wait behind it, so that
    small ones do not overtake a large one for ever; requests of other scopes do not.
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

    def add(self, waiter: Waiter) -> bool:
        """Let a request wait; False if too many do. The same request asked again keeps its place."""
        request = waiter.asked.request
        of_account = self._by_account.setdefault(request.account, {})
        if request.id not in of_account:
            if self._count >= self._most or len(of_account) >= self._most_per_account:
                if not of_account:
                    del self._by_account[request.account]
                return False
            self._count += 1
        of_account[request.id] = waiter
        return True

    def discard(self, request: HoldRequest) -> None:
        """Forget a request, which was answered when it was asked again."""
        if request.id in self._by_account.get(request.account, {}):
            self._remove(request.account, request.id)

    def ahead_of(self, request: HoldRequest) -> Waiter | None:
        """The first waiter for a scope of `request` that it must not overtake. One that waits itself has its place."""
        of_account = self._by_account.get(request.account)
        if of_account is None:
            return None
        scopes = _scopes(request)
        for hold_id, each in of_account.items():
            if hold_id == request.id:
                return None
            if _bottleneck(each) in scopes:
                return each
        return None

    def admit(self, account: str, decide: Callable[[Waiter], HoldRefused | None]) -> None:
        """Offer each waiter of an account to `decide` in the order of arrival, except behind one that still waits.

        `decide` returns the refusal with which a request goes on waiting; None: it was answered.
        """
        blocked: set[Bottleneck] = set()
        for hold_id, waiter in list(self._by_account.get(account, {}).items()):
            if blocked.isdisjoint(_scopes(waiter.asked.request)):
                refusal = decide(waiter)
                if refusal is None:
                    self._remove(account, hold_id)
                    continue
                waiter = replace(waiter, refusal=refusal)  # noqa: PLW2901 - the reason may have changed
                self._by_account[account][hold_id] = waiter
            blocked.add(_bottleneck(waiter))
            if ("account", "") in blocked:
                return

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


def _bottleneck(waiter: Waiter) -> Bottleneck:
    """The scope whose limit the request waits for. The system's counts as the account's."""
    limit, request = waiter.refusal.limit, waiter.asked.request
    if limit is not None and limit.scope == "user":
        return "user", request.user
    if limit is not None and limit.scope == "key":
        return "key", request.key
    return "account", ""


def _scopes(request: HoldRequest) -> tuple[Bottleneck, ...]:
    return ("account", ""), ("user", request.user), ("key", request.key)
