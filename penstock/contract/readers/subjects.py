"""The subjects under which readers of replies say how far they are behind."""

from __future__ import annotations

from typing import Final, NamedTuple

from penstock.contract.subjects import is_token

__all__ = ["READING", "READING_ALL", "ReaderAddress", "reader_of", "reading"]

READING: Final = "llm.reading.{account}.{client}"
READING_ALL: Final = READING.format(account="*", client="*")
_START: Final = READING.split(".")[:2]


class ReaderAddress(NamedTuple):
    """The parts of such a subject: all readers of one client have the same."""

    account: str
    client: str


def reading(account: str, client: str) -> str:
    return READING.format(account=account, client=client)


def reader_of(subject: str) -> ReaderAddress | None:
    """The parts of a concrete subject; None for any other text."""
    parts = subject.split(".")
    if len(parts) != 4 or parts[:2] != _START or not all(map(is_token, parts[2:])):
        return None
    return ReaderAddress(*parts[2:])
