"""Turns: the work of several checks in an order in which none of them waits for all the work of another."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from typing import Final, Generic, TypeVar

from msgspec import Struct

__all__ = ["FairQueue", "Turn", "current_turn", "turn_of"]

_Item = TypeVar("_Item")


class Turn(Struct, frozen=True):
    """For which account and check work is done."""

    account: str = ""
    check: int = 0


_numbers: Final = count(1)
_turn: Final[ContextVar[Turn]] = ContextVar("turn", default=Turn())  # noqa: B039 - frozen


@contextmanager
def turn_of(account: str) -> Iterator[None]:
    """All that is awaited inside, and tasks that are started there, are the work of one new check of this account."""
    token = _turn.set(Turn(account, next(_numbers)))
    try:
        yield
    finally:
        _turn.reset(token)


def current_turn() -> Turn:
    return _turn.get()


class FairQueue(Generic[_Item]):
    """A queue that gives one item of each account in turn, and of an account one item of each of its checks in turn.
    Items of one check stay in their order.
    """

    def __init__(self) -> None:
        self._accounts: OrderedDict[str, OrderedDict[int, deque[_Item]]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._accounts)

    def append(self, turn: Turn, item: _Item) -> None:
        self._accounts.setdefault(turn.account, OrderedDict()).setdefault(turn.check, deque()).append(item)

    def first(self) -> _Item:
        """What `popleft` gives next. Raises LookupError if the queue is empty."""
        return self._next()[2][0]

    def popleft(self) -> _Item:
        """Raises LookupError if the queue is empty."""
        account, check, items = self._next()
        checks = self._accounts[account]
        item = items.popleft()
        if items:
            checks.move_to_end(check)
        else:
            del checks[check]
        if checks:
            self._accounts.move_to_end(account)
        else:
            del self._accounts[account]
        return item

    def _next(self) -> tuple[str, int, deque[_Item]]:
        if not self._accounts:
            raise LookupError("the queue is empty")
        account, checks = next(iter(self._accounts.items()))
        check, items = next(iter(checks.items()))
        return account, check, items
