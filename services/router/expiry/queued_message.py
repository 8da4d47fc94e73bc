"""What a message in a mailbox says of itself, in its headers, and when its time is over."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from msgspec import Struct

from penstock.contract import headers, subjects
from penstock.contract.deadlines import LONGEST_WAIT_S
from penstock.contract.subjects import ReplyAddress

__all__ = ["Queued", "read_queued"]

_DIGITS: Final = 15
"""Of a number of milliseconds: more were not written by a router."""
_LONGEST_MS: Final = LONGEST_WAIT_S * 1000
_UNREADABLE_MS: Final = 10_000
"""A worker that is free has taken it long before, and says itself what is wrong with it."""


class Queued(Struct, frozen=True, kw_only=True):
    """Work as the sweep sees it; None: not there, or none of ours wrote it."""

    subject: str
    sequence: int
    stored_ms: int
    address: ReplyAddress | None
    deadline_ms: int | None

    @property
    def readable(self) -> bool:
        return self.address is not None and self.deadline_ms is not None

    def over_ms(self, *, known: bool) -> int:
        """When it is over, Unix milliseconds. `known`: some role of the catalogue has its mailbox.

        Nothing waits for ever, whatever its headers say; and what says nothing, where nobody reads, not at all.
        """
        if self.address is not None and self.deadline_ms is not None:
            return min(self.deadline_ms, self.stored_ms + _LONGEST_MS)
        return self.stored_ms + _UNREADABLE_MS if known else 0


def read_queued(sequence: int, written: Mapping[str, str]) -> Queued:
    """`written`: the headers of a message got directly, among them the server's own."""
    return Queued(
        subject=written["Nats-Subject"],
        sequence=sequence,
        stored_ms=int(datetime.fromisoformat(written["Nats-Time-Stamp"]).timestamp() * 1000),
        address=subjects.reply_address(written.get(headers.REPLY_SUBJECT, "")),
        deadline_ms=_milliseconds(written.get(headers.DEADLINE_MS, "")),
    )


def _milliseconds(text: str) -> int | None:
    readable = text.isascii() and text.isdigit() and len(text) <= _DIGITS
    return int(text) if readable else None
