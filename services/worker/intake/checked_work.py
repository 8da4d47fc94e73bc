"""Reads and checks the message of a mailbox once, so that no later code has to doubt it.

Only the router writes such messages; but a mailbox is a subject, and a message published there by mistake or in malice
must become a dead letter instead of failing in one worker after another.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from penstock.contract import codec, subjects
from penstock.contract.work import ChatWork
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.retrieval.embed_body import InvalidEmbedBody, read_embed_body

__all__ = ["CheckedWork", "InvalidWork", "read_work"]

_EXACT_IN_JSON: Final = 2**53
_MAX_TOKENS: Final = 2**31


class InvalidWork(ValueError):
    """The message was not written by a router."""


class CheckedWork(Struct, frozen=True):
    """Work, and the output limit in its body."""

    work: ChatWork
    max_tokens: int | None


class _Limits(Struct):
    max_tokens: int | None = None
    max_completion_tokens: int | None = None


_limits: Final = msgspec.json.Decoder(_Limits)


def read_work(subject: str, data: bytes, catalogue: Catalogue) -> CheckedWork:
    """The work in a message of the mailbox `subject`. Raises InvalidWork."""
    try:
        data.decode()  # msgspec checks UTF-8 only in what it decodes
        work = codec.WORK.decode(data)
        max_tokens = _output_limit(work) if work.kind == "chat" else None
        if work.kind == "embed" and work.body_ref is None:
            read_embed_body(work.body)
    except InvalidEmbedBody as error:
        raise InvalidWork(str(error)) from error
    except RecursionError as error:
        raise InvalidWork("it is nested too deeply") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidWork(str(error)) from error
    address = subjects.work_address(subject)
    if address is None or address[:2] != (work.role, work.lane) or work.role not in catalogue.all_roles:
        raise InvalidWork(f"it names the role {work.role} and the lane {work.lane}")
    if work.kind != catalogue.kind_of(work.role):
        raise InvalidWork(f"it is of kind {work.kind}, and the role {work.role} is not")
    if not all(map(subjects.is_token, work.reply_to)):
        raise InvalidWork("its account, client or id is not a valid subject token")
    if not all(
        0 <= number < _EXACT_IN_JSON for number in (work.deadline_ms, work.accepted_ms, work.estimated_tokens)
    ):
        raise InvalidWork("its deadline, time of acceptance or token estimate is out of range")
    return CheckedWork(work, max_tokens)


def _output_limit(work: ChatWork) -> int | None:
    """Raises InvalidWork, msgspec.MsgspecError and RecursionError."""
    if work.body_ref is None:
        limits = _limits.decode(work.body)
        both = (limits.max_completion_tokens, limits.max_tokens)  # a provider may ignore either
        max_tokens = max((limit for limit in both if limit is not None), default=None)
    else:
        max_tokens = work.max_tokens
    if max_tokens is not None and not 0 <= max_tokens < _MAX_TOKENS:
        raise InvalidWork(f"max_tokens is out of range: {max_tokens}")
    return max_tokens
