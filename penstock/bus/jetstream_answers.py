"""What JetStream answers to requests that are sent without the library, as far as it is used."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

__all__ = ["AnswerError", "PublishAck", "decode_ack"]


class AnswerError(Struct):
    """Why JetStream has not done what was asked of it."""

    err_code: int = 0
    code: int = 0
    """As HTTP's."""
    description: str = ""


class PublishAck(Struct):
    """Of a published message."""

    seq: int = 0
    """Of the message in its stream; 0: it is not stored."""
    duplicate: bool = False
    """The stream held a message with this id before."""
    error: AnswerError | None = None


decode_ack: Final = msgspec.json.Decoder(PublishAck).decode
"""Raises MsgspecError."""
