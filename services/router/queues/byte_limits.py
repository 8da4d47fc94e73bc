"""Limits in bytes, so that no account or user alone fills the stream of all mailboxes, or that of large bodies.

All roles and both lanes share one bound in bytes. Large requests and jobs may fill half of it, and those of one account
a quarter; the other half is left to small interactive requests. One account may fill half of the bound with all its
requests, and one flow an eighth per lane.

Bodies that are stored apart have the same shares of their own stream: jobs half, one account a quarter, one flow an
eighth per lane. The only body of an account or flow may exceed these two, so that a small stream takes large bodies.
"""

from __future__ import annotations

from typing import Final

from penstock.contract.work import ChatWork
from services.router.queues.stream_bytes import ByteClaim, QueuedBytes

__all__ = ["OVERLOADED_RETRY_S", "ByteLimits", "claim_of"]

OVERLOADED_RETRY_S: Final = 10.0
"""Retry delay, in seconds, where a stream is full."""
_SMALL_BYTES: Final = 256 * 1024
"""Largest small request: a long conversation without images. Half of the stream holds two thousand of them."""
_ENVELOPE_BYTES: Final = 1024
"""Bytes stored beside a body: the other fields of the work, its subject and headers."""


class ByteLimits(QueuedBytes):
    """Right after a start the size of no request is known, and only the limits on the whole streams apply."""

    def rejection_reason(self, claim: ByteClaim) -> str | None:
        """The limit that the request would exceed; None: none, or nothing is known yet."""
        bound = self.mailboxes.bound
        if bound is not None:
            is_half_used = self.mailboxes.total() + claim.size > bound // 2
            if self.of_flow(claim.lane, claim.flow)[0] + claim.size > bound // 8:
                return f"an eighth of {_all(bound)} is used by requests of this user in the {claim.lane} lane"
            if claim.lane == "interactive" and claim.size <= _SMALL_BYTES:
                if is_half_used and self._of_account(claim) > bound // 2:
                    return f"half of {_all(bound)} is used by requests of this account"
            elif is_half_used:
                return f"half of {_all(bound)} is used, and {_kind(claim)} get no more"
            elif self._of_account(claim) > bound // 4:
                return (
                    f"a quarter of {_all(bound)} is used by requests of this account, and its {_kind(claim)} get no"
                    " more"
                )
        return self._reason_of_bodies(claim) if claim.body_size else None

    def _of_account(self, claim: ByteClaim) -> int:
        """Bytes of the account in the mailboxes with this request."""
        return self.of_account(claim.flow)[0] + claim.size

    def _reason_of_bodies(self, claim: ByteClaim) -> str | None:
        stream, bound = self.bodies, self.bodies.bound
        if bound is None:
            return None
        of_all = f"of the {bound / 2**20:,.0f} MiB for bodies that exceed a message"
        _, of_flow = self.of_flow(claim.lane, claim.flow)
        _, of_account = self.of_account(claim.flow)
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
        size=len(work.body) + _ENVELOPE_BYTES,
        body_size=0 if work.body_ref is None else work.body_ref.size,
    )


def _kind(claim: ByteClaim) -> str:
    return "jobs" if claim.lane == "batch" else f"requests above {_SMALL_BYTES // 1024} KiB"


def _all(bound: int) -> str:
    return f"the {bound / 2**20:,.0f} MiB of the mailboxes"
