"""Reads and checks the message of a worker's mailbox once, so that no later code has to doubt it."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from penstock.contract.work import ChatWork
from penstock.runtime.config.catalogue import Catalogue, RoleConfig
from penstock.runtime.consumer.work_message import InvalidWork, decode_work
from penstock.runtime.output_limit import output_tokens
from penstock.runtime.tokens import ASSUMED_OUTPUT_TOKENS

__all__ = ["CheckedWork", "read_work"]

_MAX_TOKENS: Final = 2**31


class CheckedWork(Struct, frozen=True):
    """Work, and the output limit in its body."""

    work: ChatWork
    max_tokens: int | None

    def output_tokens(self, role: RoleConfig) -> int:
        """Estimated tokens of the answer."""
        if self.work.kind == "embed":
            return 0
        assumed = self.work.assumed_output_tokens or ASSUMED_OUTPUT_TOKENS
        return output_tokens(self.max_tokens, role, assumed)


class _Limits(Struct):
    max_tokens: int | None = None
    max_completion_tokens: int | None = None


_limits: Final = msgspec.json.Decoder(_Limits)


def read_work(subject: str, data: bytes, catalogue: Catalogue) -> CheckedWork:
    """The work in a message of the mailbox `subject`; the body of an embed request is checked where it is read. Raises
    InvalidWork.
    """
    work = decode_work(subject, data)
    if work.role not in catalogue.all_roles:
        raise InvalidWork(f"it names the role {work.role} and the lane {work.lane}")
    if work.kind != catalogue.kind_of(work.role):
        raise InvalidWork(f"it is of kind {work.kind}, and the role {work.role} is not")
    try:
        max_tokens = _output_limit(work) if work.kind == "chat" else None
    except RecursionError as error:
        raise InvalidWork("its body is nested too deeply") from error
    except msgspec.MsgspecError as error:
        raise InvalidWork(str(error)) from error
    return CheckedWork(work, max_tokens)


def _output_limit(work: ChatWork) -> int | None:
    """Raises InvalidWork, msgspec.MsgspecError and RecursionError."""
    if work.body_ref is None:
        limits = _limits.decode(work.body)
        max_tokens, other = limits.max_completion_tokens, limits.max_tokens  # a provider may ignore either
        if max_tokens is None or (other is not None and other > max_tokens):
            max_tokens = other
    else:
        max_tokens = work.max_tokens
    if max_tokens is not None and not 0 <= max_tokens < _MAX_TOKENS:
        raise InvalidWork(f"max_tokens is out of range: {max_tokens}")
    return max_tokens
