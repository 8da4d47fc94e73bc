"""Limits in bytes, so that no account or user alone fills the stream of all mailboxes, or that of large bodies.

All roles and both lanes share one bound in bytes. Large requests and jobs may fill half of it, and those of one account
a quarter; the other half is left to small interactive requests. One account may fill half of the bound with all its
requests, and one flow an eighth per lane.

Bodies that are stored apart have the same shares of their own stream: jobs half, one account a quarter, one flow an
eighth per lane. The only body of an account or flow may exceed these two, so that a small stream takes large bodies.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from penstock.contract.names import Lane, Role
from penstock.contract.subjects import account_of_flow
from penstock.contract.work import ChatWork
from services.router.queues.backlog import Backlog
from services.router.queues.stream_bytes import StreamBytes

__all__ = ["OVERLOADED_RETRY_S", "ByteClaim", "ByteLimits", "StreamFill", "claim_of"]

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
    body_size: int = 0
    """Bytes of a body that is stored apart."""

    @property
    def account(self) -> str:
        return account_of_flow(self.flow)


class StreamFill(NamedTuple):
    """The bytes that a stream holds, and the most that it may hold."""

    held: int
    bound: int


class ByteLimits:
    """No I/O. Right after a start the size of no request is known, and only the limits on the whole streams apply."""

    def __init__(self, backlog: Backlog) -> None:
        self._mailboxes = StreamBytes(backlog)
        self._bodies = StreamBytes(backlog)

    def rejection_reason(self, claim: ByteClaim) -> str | None:
        """The limit that the request would exceed; None: none, or nothing is known yet."""
        return self._reason_of_mailboxes(claim) or self._reason_of_bodies(claim)

    def reserve(self, claim: ByteClaim) -> None:
        """Count the request from now on, before it is stored: other requests are decided meanwhile."""
        self._mailboxes.reserve(claim.role, claim.lane, claim.flow, claim.size)
        self._bodies.reserve(claim.role, claim.lane, claim.flow, claim.body_size)

    def commit(self, claim: ByteClaim) -> None:
        """The reserved request is stored; a snapshot requested before may lack it."""
        self._mailboxes.commit(claim.size)
        self._bodies.commit(claim.body_size)

    def release(self, claim: ByteClaim) -> None:
        """The reserved request will not be stored."""
        self._mailboxes.release(claim.role, claim.lane, claim.flow, claim.size)
        self._bodies.release(claim.role, claim.lane, claim.flow, claim.body_size)

    def begin_count(self) -> None:
        """A snapshot is requested now: requests stored from here on may be missing from it, and count extra."""
        self._mailboxes.begin_count()
        self._bodies.begin_count()

    def snapshot(self, mailboxes: StreamFill, bodies: StreamFill) -> None:
        """Take the server's figures, after the backlog took its own. A bound that is not positive is none."""
        self._mailboxes.snapshot(*mailboxes)
        self._bodies.snapshot(*bodies)

    def _reason_of_mailboxes(self, claim: ByteClaim) -> str | None:
        stream, bound = self._mailboxes, self._mailboxes.bound
        if bound is None:
            return None
        of_all = f"of the {bound / 2**20:,.0f} MiB of the mailboxes"
        if stream.of_flow(claim.lane, claim.flow) + claim.size > bound // 8:
            return f"an eighth {of_all} is used by requests of this user in the {claim.lane} lane"
        all_bytes, of_account = stream.total() + claim.size, stream.of_account(claim.account) + claim.size
        if claim.lane == "interactive" and claim.size <= _SMALL_BYTES:
            exceeds = min(all_bytes, of_account) > bound // 2
            return f"half {of_all} is used by requests of this account" if exceeds else None
        kind = "jobs" if claim.lane == "batch" else f"requests above {_SMALL_BYTES // 1024} KiB"
        if all_bytes > bound // 2:
            return f"half {of_all} is used, and {kind} get no more"
        if of_account > bound // 4:
            return f"a quarter {of_all} is used by requests of this account, and its {kind} get no more"
        return None

    def _reason_of_bodies(self, claim: ByteClaim) -> str | None:
        stream, bound = self._bodies, self._bodies.bound
        if bound is None or not claim.body_size:
            return None
        of_all = f"of the {bound / 2**20:,.0f} MiB for bodies that exceed a message"
        of_flow, of_account = stream.of_flow(claim.lane, claim.flow), stream.of_account(claim.account)
        if of_flow and of_flow + claim.body_size > bound // 8:
            return f"an eighth {of_all} is used by requests of this user in the {claim.lane} lane"
        if of_account and of_account + claim.body_size > bound // 4:
            return f"a quarter {of_all} is used by requests of this account"
        # A body is stored before its request: the server's figure has it.
        if claim.lane == "batch" and stream.total() - claim.body_size >= bound // 2:
            return f"half {of_all} is used, and jobs get no more"
        return None


def claim_of(work: ChatWork, flow: str) -> ByteClaim:
    return ByteClaim(
        work.role,
        work.lane,
        flow,
        size=memoryview(work.body).nbytes + _ENVELOPE_BYTES,
        body_size=0 if work.body_ref is None else work.body_ref.size,
    )
