"""The bytes that requests take in one stream: in all, of one account, and of one flow in a lane."""

from __future__ import annotations

from collections import defaultdict

from msgspec import Struct

from penstock.contract.names import Lane, Role
from penstock.contract.subjects import account_of_flow
from services.router.queues.backlog import Backlog

__all__ = ["StreamBytes"]


class _Tally(Struct):
    """Requests enqueued by this router, since the flow or account last had none queued."""

    messages: int = 0
    size: int = 0

    def add(self, size: int) -> None:
        self.messages += 1
        self.size += size

    def remove(self, size: int) -> None:
        self.messages = max(0, self.messages - 1)
        self.size = max(0, self.size - size)

    def decay(self, queued: int) -> None:
        """Reduce to `queued` requests of mean size, if there are more."""
        if queued < self.messages:
            self.size = self.size * queued // self.messages
            self.messages = queued

    def estimate(self, queued: int) -> int:
        """Bytes of `queued` requests; those of other routers are taken to have the mean size of these."""
        return self.size * max(self.messages, queued) // self.messages if self.messages else 0


_OfMailboxes = defaultdict[tuple[str, Lane], _Tally]


def _of_mailboxes() -> _OfMailboxes:
    return defaultdict(_Tally)


class StreamBytes:
    """The server's figures of about a second ago, plus the requests enqueued by this router since. No I/O.

    The server counts the messages of flows and accounts, not their bytes. They are taken to have the mean size of those
    this router knows, so each request is counted here, also one that takes nothing in this stream.
    """

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self.bound: int | None = None
        """None: unlimited, or not known yet."""
        self._held = 0
        self._since = 0
        self._reserved = 0
        self._flows: defaultdict[tuple[Lane, str], _Tally] = defaultdict(_Tally)
        self._accounts: defaultdict[str, _OfMailboxes] = defaultdict(_of_mailboxes)
        """Per mailbox: small requests may leave one while large ones stay in another."""

    def reserve(self, role: Role, lane: Lane, flow: str, size: int) -> None:
        self._reserved += size
        for tally in self._tallies(role, lane, flow):
            tally.add(size)

    def commit(self, size: int) -> None:
        self._reserved -= size
        self._since += size

    def release(self, role: Role, lane: Lane, flow: str, size: int) -> None:
        self._reserved -= size
        for tally in self._tallies(role, lane, flow):
            tally.remove(size)

    def begin_count(self) -> None:
        self._since = 0

    def snapshot(self, held: int, bound: int) -> None:
        """Take the server's figures, after the backlog took its own. `bound`: none where it is not positive."""
        self._held, self.bound = held, bound if bound > 0 else None
        for (lane, flow), tally in list(self._flows.items()):
            tally.decay(self._backlog.of_flow_anywhere(lane, flow))
            if tally.messages == 0:
                del self._flows[lane, flow]
        for account, mailboxes in list(self._accounts.items()):
            for (role, lane), tally in list(mailboxes.items()):
                tally.decay(self._backlog.of_account(role, lane, account))
                if tally.messages == 0:
                    del mailboxes[role, lane]
            if not mailboxes:
                del self._accounts[account]

    def total(self) -> int:
        return self._held + self._since + self._reserved

    def of_flow(self, lane: Lane, flow: str) -> int:
        tally = self._flows.get((lane, flow))
        return 0 if tally is None else tally.estimate(self._backlog.of_flow_anywhere(lane, flow))

    def of_account(self, account: str) -> int:
        mailboxes = self._accounts.get(account) or _of_mailboxes()
        return sum(
            tally.estimate(self._backlog.of_account(role, lane, account))
            for (role, lane), tally in mailboxes.items()
        )

    def _tallies(self, role: Role, lane: Lane, flow: str) -> tuple[_Tally, _Tally]:
        return self._flows[lane, flow], self._accounts[account_of_flow(flow)][role, lane]
