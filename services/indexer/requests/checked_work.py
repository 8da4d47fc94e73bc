"""Checks the message of the mailbox of index requests once: anything can be published to its subject."""

from __future__ import annotations

from typing import Final

from penstock.contract.names import INDEX
from penstock.contract.work import ChatWork
from penstock.runtime.consumer.work_message import InvalidWork, decode_work
from services.indexer.store.versions import version_at

__all__ = ["read_work", "version_of"]

_MOST_MS: Final = 2**41
"""Unix milliseconds, some 70 years after 1970."""
_FUTURE_MS: Final = 60_000
"""By how much the clock of JetStream may be ahead of that of the indexer."""


def read_work(subject: str, data: bytes) -> ChatWork:
    """Raises InvalidWork."""
    work = decode_work(subject, data)
    if work.role != INDEX or work.kind != "index":
        raise InvalidWork(f"it is of kind {work.kind} and names the role {work.role}")
    if not 0 < work.accepted_ms < _MOST_MS:
        raise InvalidWork("its time of acceptance is out of range")
    return work


def version_of(work: ChatWork, sequence: int, now_ms: int) -> int:
    """Orders the changes of documents: by when JetStream stored the request, then by the sequence of its message.

    The time comes first because a stream that was deleted and created again numbers its messages from 1, and every
    later request would be taken for an older one. Requests of one millisecond are out of order only across a multiple
    of 4,096. A time in the future, as of a broker whose clock was set back since, counts as a minute from now: else
    later deletions would have no effect until then.
    """
    return version_at(min(work.accepted_ms, now_ms + _FUTURE_MS), sequence)
