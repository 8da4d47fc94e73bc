"""Which of the live ledger processes owns each partition."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Final

from penstock.contract.subjects import LEDGER_PARTITIONS, SYSTEM_PARTITION

__all__ = ["PARTITIONS", "owner_of", "partitions_of"]

PARTITIONS: Final[tuple[str, ...]] = (*map(str, range(LEDGER_PARTITIONS)), SYSTEM_PARTITION)


def owner_of(partition: str, members: Collection[str]) -> str | None:
    """The owner among `members`; None if there are none.

    Rendezvous hashing: every process with the same view of the members computes the same owner, and a change of the
    members moves only partitions of those that came or went.
    """
    return max(members, key=lambda member: (_weight(partition, member), member), default=None)


def partitions_of(member: str, members: Collection[str]) -> frozenset[str]:
    """The partitions that `member` owns."""
    return frozenset(each for each in PARTITIONS if owner_of(each, members) == member)


def _weight(partition: str, member: str) -> bytes:
    return hashlib.sha256(f"{partition}.{member}".encode()).digest()
