"""What stands in a mailbox, read and checked once: nothing past this point has to doubt it.

The router writes nothing else; but a mailbox is a subject, and what was published there by mistake or in malice must
end in a dead letter, and not in a worker that fails at it again and again.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from penstock.contract import codec, subjects
from penstock.contract.work import ChatWork
from penstock.runtime.config.catalogue import Catalogue

__all__ = ["NotWork", "Order", "read_order"]

_EXACT: Final = 2**53
_MOST_TOKENS: Final = 2**31


class NotWork(ValueError):
    """The message cannot have come from a router."""


class Order(Struct, frozen=True):
    """Work, and what its body says about the length of the answer."""

    work: ChatWork
    max_tokens: int | None


class _Limits(Struct):
    max_tokens: int | None = None
    max_completion_tokens: int | None = None


_limits: Final = msgspec.json.Decoder(_Limits)


def read_order(subject: str, data: bytes, catalogue: Catalogue) -> Order:
    """The work in a message of the mailbox `subject`. Raises NotWork, with the reason."""
    try:
        data.decode()  # msgspec checks UTF-8 only in what it decodes
        work = codec.WORK.decode(data)
        limits = _limits.decode(work.body)
    except RecursionError as error:
        raise NotWork("it is nested too deeply") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NotWork(str(error)) from error
    address = subjects.work_address(subject)
    if address is None or address[:2] != (work.role, work.lane) or work.role not in catalogue.roles:
        raise NotWork(f"it is for the role {work.role} and the lane {work.lane}")
    if not all(map(subjects.is_token, work.reply_to)):
        raise NotWork("its account, client or id is no subject token")
    if not all(
        0 <= number < _EXACT for number in (work.deadline_ms, work.accepted_ms, work.estimated_tokens)
    ):
        raise NotWork("a number of it is out of range")
    asked = limits.max_completion_tokens or limits.max_tokens
    if asked is not None and not 0 <= asked < _MOST_TOKENS:
        raise NotWork(f"max_tokens of {asked}")
    return Order(work, asked)
