"""The id of an answer, from which any edge process finds its reply and repeats its stream."""

from __future__ import annotations

import re
import secrets
import string
from typing import Final, get_args
from zlib import crc32

from msgspec import Struct

from penstock.bus.ids import unix_ms_of
from penstock.contract.formats.answer_id import ADDRESS, DIGIT
from services.edge.requests.rescue import StreamRescue

__all__ = ["AnswerId", "new_client_name", "parse_answer_id"]

_RESCUES: Final[tuple[StreamRescue, ...]] = get_args(StreamRescue)
_DIGITS: Final = string.digits + string.ascii_lowercase
_ID: Final = re.compile(f"({DIGIT})({DIGIT})({ADDRESS})")


class AnswerId(Struct, frozen=True, kw_only=True):
    """What a stream depends on besides the reply events and the account, which the caller's key names."""

    client: str
    """The client name of the edge process that submitted the request: a part of the reply subject."""
    request_id: str
    """A UUIDv7."""
    streamed: bool
    rescue: StreamRescue = "error"
    include_usage: bool = False
    background: bool = False
    """The answer is that of a job."""

    def text(self, prefix: str) -> str:
        """`prefix` is that of the dialect, such as `chatcmpl-`.

        A digit for the form, a check digit, and the address of the reply.
        """
        rescue, background = _RESCUES.index(self.rescue), self.background
        form = rescue * 8 + background * 4 + self.streamed * 2 + self.include_usage
        address = f"{self.client}-{self.request_id}"
        return f"{prefix}{_DIGITS[form]}{_check_digit(prefix, form, address)}{address}"

    @property
    def created_s(self) -> int:
        """Unix seconds when the request was made."""
        return unix_ms_of(self.request_id) // 1000


def new_client_name() -> str:
    """The client name of an edge process: short, because it is part of every id, and without a hyphen."""
    return f"edge{secrets.token_hex(5)}"


def parse_answer_id(text: str, prefix: str) -> AnswerId | None:
    """The parts of an id; None for a text that is not one."""
    match = _ID.fullmatch(text.removeprefix(prefix)) if text.startswith(prefix) else None
    if match is None:
        return None
    form = _DIGITS.index(match[1])
    if form >= 8 * len(_RESCUES) or match[2] != _check_digit(prefix, form, match[3]):
        return None
    return AnswerId(
        client=match[4],
        request_id=match[5],
        rescue=_RESCUES[form // 8],
        background=bool(form // 4 % 2),
        streamed=bool(form // 2 % 2),
        include_usage=bool(form % 2),
    )


def _check_digit(prefix: str, form: int, address: str) -> str:
    """It differs for every form of one answer, and nearly always for another answer or dialect."""
    return _DIGITS[(crc32(f"{prefix}{address}".encode()) + form) % len(_DIGITS)]
