"""Limits in bytes, so that no account or user alone fills the stream of all mailboxes.

All roles and both lanes share one bound in bytes. Large requests and jobs may fill half of it, and those of one account
a quarter; the other half is left to small interactive requests. One account may fill half of the bound with all its
requests, and one flow an eighth per lane.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final, NamedTuple

from msgspec import Struct

from penstock.contract.names import Lane, Role
from penstock.contract.subjects import account_of_flow
from penstock.contract.work import ChatWork
from services.router.queues.backlog import Backlog

__all__ = ["OVERLOADED_RETRY_S", "ByteClaim", "ByteLimits", "claim_of"]

OVERLOADED_RETRY_S: Final = 10.0
"""Retry delay, in seconds, where a stream is full."""
_SMALL_BYTES: Final = 256 * 1024
"""Largest small request: a long conversation without images. Half of the stream holds two thousand of them."""
_ENVELOPE_BYTES: Final = 1024
"""Bytes stored beside a body: the other fields of the work, its subject and headers."""


class ByteClaim(NamedTuple):
    """The bytes that one request takes, and from which limits."""

    role: Role
    lane: Lane
    flow: str
    size: int


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


class ByteLimits:
    """The server's figures of about a second ago, plus the requests enqueued by this router since. No I/O.

    The server counts the messages of flows and accounts, not their bytes. They are taken to have the mean size of those
    this router knows; right after a start none is known, and only the limits on the whole stream apply.
    """

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self._bound: int | None = None
        self._held = 0
        self._since = 0
        self._reserved = 0
        self._flows: defaultdict[tuple[Lane, str], _Tally] = defaultdict(_Tally)
        self._accounts: defaultdict[str, _OfMailboxes] = defaultdict(_of_mailboxes)
        """Per mailbox: small requests may leave one while large ones stay in another."""

    def rejection_reason(self, claim: ByteClaim) -> str | None:
        """The limit that the request would exceed; None: none, or nothing is known yet."""
        if self._bound is None:
            return None
        mib = self._bound / 2**20
        if self._of_flow(claim) + claim.size > self._bound // 8:
            share = f"an eighth of the {mib:,.0f} MiB of the mailboxes"
            return f"{share} is used by requests of this user in the {claim.lane} lane"
        if claim.lane == "interactive" and claim.size <= _SMALL_BYTES:
            return self._reason_for_small(claim, self._bound)
        kind = "jobs" if claim.lane == "batch" else f"requests above {_SMALL_BYTES // 1024} KiB"
        if self._total() + claim.size > self._bound // 2:
            return f"half of the {mib:,.0f} MiB of the mailboxes is used, and {kind} get no more"
        if self._of_account(claim) + claim.size > self._bound // 4:
            share = f"a quarter of the {mib:,.0f} MiB of the mailboxes"
            return f"{share} is used by requests of this account, and its {kind} get no more"
        return None

    def _reason_for_small(self, claim: ByteClaim, bound: int) -> str | None:
        half = bound // 2
        if self._total() + claim.size <= half or self._of_account(claim) + claim.size <= half:
            return None
        return f"half of the {bound / 2**20:,.0f} MiB of the mailboxes is used by requests of this account"

    def reserve(self, claim: ByteClaim) -> None:
        """Count the request from now on, before it is stored: other requests are decided meanwhile."""
        self._reserved += claim.size
        for tally in self._tallies(claim):
            tally.add(claim.size)

    def commit(self, claim: ByteClaim) -> None:
        """The reserved request is stored; a snapshot requested before may lack it."""
        self._reserved -= claim.size
        self._since += claim.size

    def release(self, claim: ByteClaim) -> None:
        """The reserved request will not be stored."""
        self._reserved -= claim.size
        for tally in self._tallies(claim):
            tally.remove(claim.size)

    def begin_count(self) -> None:
        """A snapshot is requested now: requests stored from here on may be missing from it, and count extra."""
        self._since = 0

    def snapshot(self, held: int, bound: int) -> None:
        """Take the server's figures, after the backlog took its own. `bound`: none where it is not positive."""
        self._held, self._bound = held, bound if bound > 0 else None
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

    def _tallies(self, claim: ByteClaim) -> tuple[_Tally, _Tally]:
        return (
            self._flows[claim.lane, claim.flow],
            self._accounts[account_of_flow(claim.flow)][claim.role, claim.lane],
        )

    def _total(self) -> int:
        return self._held + self._since + self._reserved

    def _of_flow(self, claim: ByteClaim) -> int:
        tally = self._flows.get((claim.lane, claim.flow))
        return 0 if tally is None else tally.estimate(self._backlog.of_flow_anywhere(claim.lane, claim.flow))

    def _of_account(self, claim: ByteClaim) -> int:
        account = account_of_flow(claim.flow)
        mailboxes = self._accounts.get(account) or _of_mailboxes()
        return sum(
            tally.estimate(self._backlog.of_account(role, lane, account))
            for (role, lane), tally in mailboxes.items()
        )


def claim_of(work: ChatWork, flow: str) -> ByteClaim:
    return ByteClaim(work.role, work.lane, flow, memoryview(work.body).nbytes + _ENVELOPE_BYTES)
