"""The readers that are behind the replies they read, as they say themselves. No I/O.

Times are monotonic seconds of this process, and ages are relative to now.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from penstock.contract.reply import READER_BEHIND_EVERY_S
from penstock.contract.streams import REPLIES

__all__ = ["ReadersBehind"]

_MISSED_S: Final = 5 * READER_BEHIND_EVERY_S
"""Seconds after which a reader that says nothing more has caught up, or has ended."""
_LATE_S: Final = 5.0
"""Seconds that an event may have been on its way to the reader, which counts from its arrival."""
_MOST_ACCOUNTS: Final = 1_000
_MOST_CLIENTS: Final = 100
"""Clients of one account, each a process. Beyond either number those that reported longest ago count no more."""


class _Behind(Struct, frozen=True):
    since_s: float
    """When the oldest event was stored that the reader needs."""
    reported_s: float


class ReadersBehind:
    def __init__(self) -> None:
        self._accounts: dict[str, dict[str, _Behind]] = {}
        """By account and client, both in the order of the latest message."""

    def observe(self, account: str, client: str, behind_s: float, now_s: float) -> None:
        """`behind_s`: age of the oldest event that a reader of this client needs."""
        clients = self._accounts.pop(account, {})
        clients.pop(client, None)
        if 0 < behind_s <= REPLIES.max_age_s:
            clients[client] = _Behind(now_s - behind_s - _LATE_S, now_s)
        if len(clients) > _MOST_CLIENTS:
            del clients[next(iter(clients))]
        if clients:
            self._accounts[account] = clients
        if len(self._accounts) > _MOST_ACCOUNTS:
            del self._accounts[next(iter(self._accounts))]

    def oldest_s(self, now_s: float) -> dict[str, float]:
        """Of each account with live readers that are behind the age of the oldest event that any of them needs."""
        for account, clients in list(self._accounts.items()):
            live = {name: each for name, each in clients.items() if now_s - each.reported_s <= _MISSED_S}
            if live:
                self._accounts[account] = live
            else:
                del self._accounts[account]
        return {
            account: now_s - min(each.since_s for each in clients.values())
            for account, clients in self._accounts.items()
        }
