"""The bytes that requests take in two streams, the mailboxes and the bodies: in all, of one account, and of one flow in
a lane.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from msgspec import Struct

from penstock.contract.names import Lane, Role
from penstock.contract.subjects import account_of_flow
from services.router.queues.backlog import Backlog

__all__ = ["ByteClaim", "QueuedBytes", "StreamFill"]


class ByteClaim(Struct, frozen=True):
    """The bytes that one request takes, and from which limits."""

    role: Role
    lane: Lane
    flow: str
    size: int
    """Bytes in the mailboxes."""
    body_size: int = 0
    """Bytes of a body that is stored apart."""


class StreamFill(NamedTuple):
    """The bytes that a stream holds, and the most that it may hold."""

    held: int
    bound: int


class _StreamTotal:
    """All bytes of one stream: the server's figure of about a second ago, and what this router enqueued since."""

    def __init__(self) -> None:
        self.bound: int | None = None
        """None: unlimited, or not known yet."""
        self.held = self.since = self.reserved = 0

    def total(self) -> int:
        return self.held + self.since + self.reserved

    def snapshot(self, fill: StreamFill) -> None:
        self.held, self.bound = fill.held, fill.bound if fill.bound > 0 else None


class _Tally(Struct):
    """Requests enqueued by this router, since the flow or account last had none queued."""

    messages: int = 0
    size: int = 0
    body_size: int = 0

    def decay(self, queued: int) -> None:
        """Reduce to `queued` requests of mean size, if there are more."""
        if queued < self.messages:
            self.size = self.size * queued // self.messages
            self.body_size = self.body_size * queued // self.messages
            self.messages = queued

    def estimate(self, queued: int) -> tuple[int, int]:
        """Bytes of `queued` requests in the mailboxes and in the bodies; those of other routers are taken to have the
        mean size of these.
        """
        if not self.messages:
            return 0, 0
        count = max(self.messages, queued)
        return self.size * count // self.messages, self.body_size * count // self.messages


_OfMailboxes = defaultdict[tuple[Role, Lane], _Tally]


def _of_mailboxes() -> _OfMailboxes:
    return defaultdict(_Tally)


class QueuedBytes:
    """The server's figures of about a second ago, plus the requests enqueued by this router since. No I/O.

    A request counts from `reserve` on, before it is stored: others are decided meanwhile. After `commit` it is stored,
    and a snapshot that was requested before may lack it; after `release` it will not be stored.

    The server counts the messages of flows and accounts, not their bytes. They are taken to have the mean size of those
    this router knows, so each request is counted in both streams, also one that has no body of its own.
    """

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self.mailboxes = _StreamTotal()
        self.bodies = _StreamTotal()
        self._flows: defaultdict[tuple[Lane, str], _Tally] = defaultdict(_Tally)
        self._accounts: defaultdict[str, _OfMailboxes] = defaultdict(_of_mailboxes)
        """Per mailbox: small requests may leave one while large ones stay in another."""

    def reserve(self, claim: ByteClaim) -> None:
        self.mailboxes.reserved += claim.size
        self.bodies.reserved += claim.body_size
        for tally in self._tallies(claim):
            tally.messages += 1
            tally.size += claim.size
            tally.body_size += claim.body_size

    def commit(self, claim: ByteClaim) -> None:
        for stream, size in ((self.mailboxes, claim.size), (self.bodies, claim.body_size)):
            stream.reserved -= size
            stream.since += size

    def release(self, claim: ByteClaim) -> None:
        self.mailboxes.reserved -= claim.size
        self.bodies.reserved -= claim.body_size
        for tally in self._tallies(claim):
            tally.messages = max(0, tally.messages - 1)
            tally.size = max(0, tally.size - claim.size)
            tally.body_size = max(0, tally.body_size - claim.body_size)

    def begin_count(self) -> None:
        """A snapshot is requested now: requests stored from here on may be missing from it, and count extra."""
        self.mailboxes.since = self.bodies.since = 0

    def snapshot(self, mailboxes: StreamFill, bodies: StreamFill) -> None:
        """Take the server's figures, after the backlog took its own. A bound that is not positive is none."""
        self.mailboxes.snapshot(mailboxes)
        self.bodies.snapshot(bodies)
        for (lane, flow), tally in list(self._flows.items()):
            tally.decay(self._backlog.of_flow_anywhere(lane, flow))
            if tally.messages == 0:
                del self._flows[lane, flow]
        for account, of_account in list(self._accounts.items()):
            for (role, lane), tally in list(of_account.items()):
                tally.decay(self._backlog.of_account(role, lane, account))
                if tally.messages == 0:
                    del of_account[role, lane]
            if not of_account:
                del self._accounts[account]

    def of_flow(self, lane: Lane, flow: str) -> tuple[int, int]:
        """Bytes in the mailboxes and in the bodies."""
        tally = self._flows.get((lane, flow))
        return (0, 0) if tally is None else tally.estimate(self._backlog.of_flow_anywhere(lane, flow))

    def of_account(self, flow: str) -> tuple[int, int]:
        """The same of the account of `flow`."""
        account = account_of_flow(flow)
        size = body_size = 0
        for (role, lane), tally in self._accounts.get(account, {}).items():
            more, more_bodies = tally.estimate(self._backlog.of_account(role, lane, account))
            size, body_size = size + more, body_size + more_bodies
        return size, body_size

    def _tallies(self, claim: ByteClaim) -> tuple[_Tally, _Tally]:
        of_account = self._accounts[account_of_flow(claim.flow)]
        return self._flows[claim.lane, claim.flow], of_account[claim.role, claim.lane]
