"""Reads the message of a mailbox and checks what no consumer may doubt afterwards.

Only the router writes such messages; but a mailbox is a subject, and a message published there by mistake or in malice
must become a dead letter instead of failing in one process after another.
"""

from __future__ import annotations

from typing import Final

import msgspec

from penstock.contract import codec, subjects
from penstock.contract.work import ChatWork

__all__ = ["InvalidWork", "decode_work"]

_EXACT_IN_JSON: Final = 2**53
"""Integers below it are exact in every JSON parser."""


class InvalidWork(ValueError):
    """The message was not written by a router."""


def decode_work(subject: str, data: bytes) -> ChatWork:
    """The work in a message of the mailbox `subject`. Raises InvalidWork."""
    try:
        data.decode()  # msgspec checks UTF-8 only in what it decodes
        work = codec.WORK.decode(data)
    except RecursionError as error:
        raise InvalidWork("it is nested too deeply") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidWork(str(error)) from error
    address = subjects.work_address(subject)
    if address is None or address[:2] != (work.role, work.lane):
        raise InvalidWork(f"it names the role {work.role} and the lane {work.lane}")
    if not all(map(subjects.is_token, work.reply_to)):
        raise InvalidWork("its account, client or id is not a valid subject token")
    numbers = (work.deadline_ms, work.accepted_ms, work.estimated_tokens)
    if not all(0 <= number < _EXACT_IN_JSON for number in numbers):
        raise InvalidWork("its deadline, time of acceptance or token estimate is out of range")
    return work
