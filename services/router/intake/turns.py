"""Accounts take turns: which of the received requests are handled at once."""

from __future__ import annotations

import asyncio
from collections import Counter, deque

__all__ = ["AccountTurns"]


class AccountTurns:
    """Bounds the requests of one lane that are handled at once, in total and by their account.

    An account may use `most` slots, and as many as are free besides its own, so that a slot is free for the next. Those
    that wait take turns, and an account's requests keep their order.
    """

    def __init__(self, slots: int, most: int) -> None:
        self._free = slots
        self._most = most
        self._used: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """In the order of their turns."""

    def try_enter(self, account: str) -> bool:
        """Take a slot, which `leave` gives back, if it is the turn of the account already."""
        used = self._used.get(account, 0)
        if account in self._waiting or used >= min(self._free, self._most):
            return False
        self._free -= 1
        self._used[account] = used + 1
        return True

    async def enter(self, account: str) -> None:
        """Wait for a slot, which `leave` gives back."""
        if self.try_enter(account):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(account, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave(account)
            raise

    def leave(self, account: str) -> None:
        """Give back the slot, and let those start whose turn it is."""
        self._free += 1
        self._used[account] -= 1
        if not self._used[account]:
            del self._used[account]
        while self._waiting and (following := self._next()) is not None:
            self._start(following)

    def _may_start(self, account: str) -> bool:
        return self._used[account] < min(self._free, self._most)

    def _start(self, account: str) -> None:
        self._free -= 1
        self._used[account] += 1

    def _next(self) -> str | None:
        """The account whose turn it is, and whose first waiting request goes on; it is the last in the next round."""
        for account, turns in self._waiting.items():
            if not self._may_start(account):
                continue
            del self._waiting[account]
            while turns:
                turn = turns.popleft()
                if not turn.cancelled():
                    if turns:
                        self._waiting[account] = turns
                    turn.set_result(None)
                    return account
            return self._next()
        return None
