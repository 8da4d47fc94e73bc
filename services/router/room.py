"""Whether the mailboxes have room for a body of this size: nobody alone fills the stream that holds them all.

All roles and both lanes share one bound in bytes. What is large, and what may wait for a day, leaves half of it to
small interactive requests; and whoever sends it, one flow has at most an eighth of it in a lane.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec import Struct

from schemas.names import Lane
from schemas.work import ChatWork
from services.router.backlog import Backlog

__all__ = ["OVERLOADED_RETRY_S", "Parcel", "Room", "parcel"]

OVERLOADED_RETRY_S: Final = 10.0
"""Told where a stream is full."""
_SMALL_BYTES: Final = 256 * 1024
"""Two thousand of them are half of the stream: as many requests of a long conversation, without its pictures."""
_AROUND_BYTES: Final = 1024
"""What goes with a body into the stream: the other fields of the work, its subject and headers."""


class Parcel(NamedTuple):
    """What one request takes."""

    lane: Lane
    flow: str
    size: int


class _Sent(Struct):
    """By one flow, through this router, since it last had nothing in the lane."""

    messages: int = 0
    size: int = 0

    def decay(self, queued: int) -> None:
        """No more than `queued` of them are there: the rest is taken to have been as large as these."""
        if queued < self.messages:
            self.size = self.size * queued // self.messages
            self.messages = queued


class Room:
    """The server's figures of about a second ago, and what this router has put in since. No I/O.

    Of a flow the server counts messages only. They are taken to be as large as those this router knows, so what went
    through other routers counts too; after a start nothing is known, and the halves alone bound it.
    """

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self._bound: int | None = None
        self._held = 0
        self._since = 0
        self._reserved = 0
        self._sent: dict[tuple[Lane, str], _Sent] = {}

    def refusal(self, wanted: Parcel) -> str | None:
        """Why there is no room for it; None: there is, or nothing is known yet."""
        if self._bound is None:
            return None
        mib = self._bound / 2**20
        if self._of_flow(wanted) + wanted.size > self._bound // 8:
            share = f"an eighth of the {mib:,.0f} MiB of the mailboxes"
            return f"{share} is taken by what this user has in the {wanted.lane} lane"
        is_modest = wanted.lane == "interactive" and wanted.size <= _SMALL_BYTES
        if not is_modest and self._total() + wanted.size > self._bound // 2:
            kind = "jobs" if wanted.lane == "batch" else f"requests above {_SMALL_BYTES // 1024} KiB"
            return f"half of the {mib:,.0f} MiB of the mailboxes is taken, and {kind} have no more"
        return None

    def reserve(self, parcel: Parcel) -> None:
        """It will be put in: it counts from now on, others are decided meanwhile."""
        self._reserved += parcel.size
        sent = self._sent.setdefault((parcel.lane, parcel.flow), _Sent())
        sent.messages += 1
        sent.size += parcel.size

    def stored(self, parcel: Parcel) -> None:
        """What was reserved is in the stream; until then no figure had it for certain."""
        self._reserved -= parcel.size
        self._since += parcel.size

    def give_back(self, parcel: Parcel) -> None:
        """What was reserved will not come."""
        self._reserved -= parcel.size
        sent = self._sent.get((parcel.lane, parcel.flow))
        if sent is not None:
            sent.messages = max(0, sent.messages - 1)
            sent.size = max(0, sent.size - parcel.size)

    def asking(self) -> None:
        """The server is asked now: what is stored from here on may or may not be in its answer, and counts."""
        self._since = 0

    def snapshot(self, held: int, bound: int) -> None:
        """The server's answer, after the backlog has its own. `bound`: none where it is not positive."""
        self._held, self._bound = held, bound if bound > 0 else None
        for (lane, flow), sent in list(self._sent.items()):
            sent.decay(self._backlog.of_flow_anywhere(lane, flow))
            if sent.messages == 0:
                del self._sent[lane, flow]

    def _total(self) -> int:
        return self._held + self._since + self._reserved

    def _of_flow(self, wanted: Parcel) -> int:
        sent = self._sent.get((wanted.lane, wanted.flow))
        if sent is None or sent.messages == 0:
            return 0
        queued = max(sent.messages, self._backlog.of_flow_anywhere(wanted.lane, wanted.flow))
        return sent.size * queued // sent.messages


def parcel(work: ChatWork, flow: str) -> Parcel:
    return Parcel(work.lane, flow, memoryview(work.body).nbytes + _AROUND_BYTES)
