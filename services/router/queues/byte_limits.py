"""Whether the mailboxes have room for a body of this size: nobody alone fills the stream that holds them all.

All roles and both lanes share one bound in bytes. What is large, and what may wait for a day, leaves half of it to
small interactive requests; of the other half an account has a half at most, and leaves the rest to other accounts.
With its small ones an account has at most half of the whole, and whoever sends it, one flow an eighth in a lane.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final, NamedTuple

from msgspec import Struct

from penstock.contract.names import Lane, Role
from penstock.contract.subjects import account_of_flow
from penstock.contract.work import ChatWork
from services.router.queues.backlog import Backlog

__all__ = ["OVERLOADED_RETRY_S", "Parcel", "Room", "parcel"]

OVERLOADED_RETRY_S: Final = 10.0
"""Told where a stream is full."""
_SMALL_BYTES: Final = 256 * 1024
"""Two thousand of them are half of the stream: as many requests of a long conversation, without its pictures."""
_AROUND_BYTES: Final = 1024
"""What goes with a body into the stream: the other fields of the work, its subject and headers."""


class Parcel(NamedTuple):
    """What one request takes."""

    role: Role
    lane: Lane
    flow: str
    size: int


class _Sent(Struct):
    """Through this router, since its sender last had nothing there."""

    messages: int = 0
    size: int = 0

    def add(self, size: int) -> None:
        self.messages += 1
        self.size += size

    def take(self, size: int) -> None:
        self.messages = max(0, self.messages - 1)
        self.size = max(0, self.size - size)

    def decay(self, queued: int) -> None:
        """No more than `queued` of them are there: the rest is taken to have been as large as these."""
        if queued < self.messages:
            self.size = self.size * queued // self.messages
            self.messages = queued

    def held(self, queued: int) -> int:
        """In bytes; what of `queued` came through other routers is taken to be as large as these."""
        return self.size * max(self.messages, queued) // self.messages if self.messages else 0


_OfMailboxes = defaultdict[tuple[str, Lane], _Sent]


def _of_mailboxes() -> _OfMailboxes:
    return defaultdict(_Sent)


class Room:
    """The server's figures of about a second ago, and what this router has put in since. No I/O.

    Of flows and accounts the server counts messages only. They are taken to be as large as those this router knows, so
    what went through other routers counts too; after a start nothing is known, and the halves alone bound it.
    """

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self._bound: int | None = None
        self._held = 0
        self._since = 0
        self._reserved = 0
        self._flows: defaultdict[tuple[Lane, str], _Sent] = defaultdict(_Sent)
        self._accounts: defaultdict[str, _OfMailboxes] = defaultdict(_of_mailboxes)
        """Of each mailbox by itself: what is small there may go while what is large elsewhere stays."""

    def refusal(self, wanted: Parcel) -> str | None:
        """Why there is no room for it; None: there is, or nothing is known yet."""
        if self._bound is None:
            return None
        mib = self._bound / 2**20
        if self._of_flow(wanted) + wanted.size > self._bound // 8:
            share = f"an eighth of the {mib:,.0f} MiB of the mailboxes"
            return f"{share} is taken by what this user has in the {wanted.lane} lane"
        if wanted.lane == "interactive" and wanted.size <= _SMALL_BYTES:
            return self._refusal_of_small(wanted, self._bound)
        kind = "jobs" if wanted.lane == "batch" else f"requests above {_SMALL_BYTES // 1024} KiB"
        if self._total() + wanted.size > self._bound // 2:
            return f"half of the {mib:,.0f} MiB of the mailboxes is taken, and {kind} have no more"
        if self._of_account(wanted) + wanted.size > self._bound // 4:
            share = f"a quarter of the {mib:,.0f} MiB of the mailboxes"
            return f"{share} is taken by what this account has there, and its {kind} have no more"
        return None

    def _refusal_of_small(self, wanted: Parcel, bound: int) -> str | None:
        half = bound // 2
        if self._total() + wanted.size <= half or self._of_account(wanted) + wanted.size <= half:
            return None
        return (
            f"half of the {bound / 2**20:,.0f} MiB of the mailboxes is taken by what this account has there"
        )

    def reserve(self, wanted: Parcel) -> None:
        """It will be put in: it counts from now on, others are decided meanwhile."""
        self._reserved += wanted.size
        for sent in self._tallies(wanted):
            sent.add(wanted.size)

    def stored(self, wanted: Parcel) -> None:
        """What was reserved is in the stream; until then no figure had it for certain."""
        self._reserved -= wanted.size
        self._since += wanted.size

    def give_back(self, wanted: Parcel) -> None:
        """What was reserved will not come."""
        self._reserved -= wanted.size
        for sent in self._tallies(wanted):
            sent.take(wanted.size)

    def asking(self) -> None:
        """The server is asked now: what is stored from here on may or may not be in its answer, and counts."""
        self._since = 0

    def snapshot(self, held: int, bound: int) -> None:
        """The server's answer, after the backlog has its own. `bound`: none where it is not positive."""
        self._held, self._bound = held, bound if bound > 0 else None
        for (lane, flow), sent in list(self._flows.items()):
            sent.decay(self._backlog.of_flow_anywhere(lane, flow))
            if sent.messages == 0:
                del self._flows[lane, flow]
        for account, mailboxes in list(self._accounts.items()):
            for (role, lane), sent in list(mailboxes.items()):
                sent.decay(self._backlog.of_account(role, lane, account))
                if sent.messages == 0:
                    del mailboxes[role, lane]
            if not mailboxes:
                del self._accounts[account]

    def _tallies(self, wanted: Parcel) -> tuple[_Sent, _Sent]:
        return (
            self._flows[wanted.lane, wanted.flow],
            self._accounts[account_of_flow(wanted.flow)][wanted.role, wanted.lane],
        )

    def _total(self) -> int:
        return self._held + self._since + self._reserved

    def _of_flow(self, wanted: Parcel) -> int:
        sent = self._flows.get((wanted.lane, wanted.flow))
        return 0 if sent is None else sent.held(self._backlog.of_flow_anywhere(wanted.lane, wanted.flow))

    def _of_account(self, wanted: Parcel) -> int:
        account = account_of_flow(wanted.flow)
        mailboxes = self._accounts.get(account) or _of_mailboxes()
        return sum(
            sent.held(self._backlog.of_account(role, lane, account))
            for (role, lane), sent in mailboxes.items()
        )


def parcel(work: ChatWork, flow: str) -> Parcel:
    return Parcel(work.role, work.lane, flow, memoryview(work.body).nbytes + _AROUND_BYTES)
