"""Reads and checks the message of a mailbox once: a mailbox is a subject, to which anything can be published."""

from __future__ import annotations

from typing import Final

import msgspec

from penstock.contract import codec, subjects
from penstock.contract.names import INDEX
from penstock.contract.work import ChatWork

__all__ = ["InvalidWork", "read_work", "version_of"]

_EXACT_IN_JSON: Final = 2**53
_MOST_MS: Final = 2**41
_SEQUENCE_BITS: Final = 12


class InvalidWork(ValueError):
    """The message was not written by a router."""


def read_work(subject: str, data: bytes) -> ChatWork:
    """Raises InvalidWork."""
    try:
        data.decode()  # msgspec checks UTF-8 only in what it decodes
        work = codec.WORK.decode(data)
    except RecursionError as error:
        raise InvalidWork("it is nested too deeply") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidWork(str(error)) from error
    address = subjects.work_address(subject)
    if address is None or address[:2] != (work.role, work.lane) or work.role != INDEX or work.kind != "index":
        raise InvalidWork(
            f"it is of kind {work.kind} and names the role {work.role} and the lane {work.lane}"
        )
    if not all(map(subjects.is_token, work.reply_to)):
        raise InvalidWork("its account, client or id is not a valid subject token")
    if not (0 <= work.deadline_ms < _EXACT_IN_JSON and 0 < work.accepted_ms < _MOST_MS):
        raise InvalidWork("its deadline or time of acceptance is out of range")
    return work


def version_of(work: ChatWork, sequence: int) -> int:
    """Orders the changes of documents: by when JetStream stored the request, then by the sequence of its message.

    The time comes first because a stream that was deleted and created again numbers its messages from 1, and every
    later request would be taken for an older one. The number is exact in JSON.
    """
    return work.accepted_ms << _SEQUENCE_BITS | sequence & ((1 << _SEQUENCE_BITS) - 1)
