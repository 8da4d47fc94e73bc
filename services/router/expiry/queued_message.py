"""Work that waits in a mailbox, as its headers describe it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from msgspec import Struct

from penstock.contract import headers, subjects
from penstock.contract.request import LONGEST_WAIT_S
from penstock.contract.subjects import ReplyAddress

__all__ = ["QueuedMessage"]

_DIGITS: Final = 15
"""Most digits of a deadline in milliseconds that a router writes."""
_LONGEST_MS: Final = LONGEST_WAIT_S * 1000
_UNREADABLE_MS: Final = 10_000
"""Milliseconds after which a message with unreadable headers expires: a free worker dead-letters it long before."""


class QueuedMessage(Struct, frozen=True, kw_only=True):
    """Work in a mailbox; a field is None where its header is missing or not valid."""

    subject: str
    sequence: int
    stored_ms: int
    address: ReplyAddress | None
    deadline_ms: int | None
    is_large: bool = False
    """Its body is stored apart."""

    @classmethod
    def of(cls, sequence: int, written: Mapping[str, str]) -> QueuedMessage:
        """`written`: the headers of a message from a direct get, including those the server adds."""
        return cls(
            subject=written["Nats-Subject"],
            sequence=sequence,
            stored_ms=int(datetime.fromisoformat(written["Nats-Time-Stamp"]).timestamp() * 1000),
            address=subjects.reply_address(written.get(headers.REPLY_SUBJECT, "")),
            deadline_ms=_milliseconds(written.get(headers.DEADLINE_MS, "")),
            is_large=headers.BODY_BYTES in written,
        )

    @property
    def readable(self) -> bool:
        return self.address is not None and self.deadline_ms is not None

    def expires_ms(self, *, known: bool) -> int:
        """When it expires, Unix milliseconds. `known`: a role of the catalogue has this mailbox.

        No message waits longer than the longest deadline. An unreadable one expires at once if no role has it.
        """
        if self.address is not None and self.deadline_ms is not None:
            return min(self.deadline_ms, self.stored_ms + _LONGEST_MS)
        return self.stored_ms + _UNREADABLE_MS if known else 0


def _milliseconds(text: str) -> int | None:
    readable = text.isascii() and text.isdigit() and len(text) <= _DIGITS
    return int(text) if readable else None
