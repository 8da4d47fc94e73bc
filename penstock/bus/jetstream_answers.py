"""What JetStream answers to requests that are sent without the library, as far as it is used."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

__all__ = ["AnswerError", "decode_ack"]


class AnswerError(Struct):
    """Why JetStream has not done what was asked of it."""

    err_code: int = 0
    description: str = ""


class _PublishAck(Struct):
    """Of a published message."""

    seq: int = 0
    """Of the message in its stream; 0: it is not stored."""
    error: AnswerError | None = None


decode_ack: Final = msgspec.json.Decoder(_PublishAck).decode
"""Raises MsgspecError."""
