"""One encoder for all messages and one typed decoder per kind of message.

Decoders are strict about types and ignore unknown fields, which a newer sender may add.
"""

from __future__ import annotations

from typing import Final

import msgspec

from penstock.contract.events import Event
from penstock.contract.headers import DeadHistory
from penstock.contract.idempotency import IdempotencyRecord
from penstock.contract.jobs import Job, JobResult
from penstock.contract.keys import ApiKey
from penstock.contract.presence import Presence
from penstock.contract.quota import QuotaRecord
from penstock.contract.reply import ReplyEvent
from penstock.contract.request import ChatRequest
from penstock.contract.work import ChatWork

__all__ = [
    "API_KEY",
    "DEAD_HISTORY",
    "EVENT",
    "IDEMPOTENCY",
    "JOB",
    "PRESENCE",
    "QUOTA",
    "REPLY",
    "REQUEST",
    "RESULT",
    "WORK",
    "encode",
]

_encoder: Final = msgspec.json.Encoder()

REQUEST: Final = msgspec.json.Decoder(ChatRequest)
WORK: Final = msgspec.json.Decoder(ChatWork)
REPLY: Final[msgspec.json.Decoder[ReplyEvent]] = msgspec.json.Decoder(ReplyEvent)
EVENT: Final[msgspec.json.Decoder[Event]] = msgspec.json.Decoder(Event)
PRESENCE: Final = msgspec.json.Decoder(Presence)
QUOTA: Final = msgspec.json.Decoder(QuotaRecord)
API_KEY: Final = msgspec.json.Decoder(ApiKey)
IDEMPOTENCY: Final = msgspec.json.Decoder(IdempotencyRecord)
JOB: Final = msgspec.json.Decoder(Job)
RESULT: Final = msgspec.json.Decoder(JobResult)
DEAD_HISTORY: Final = msgspec.json.Decoder(DeadHistory)


def encode(message: msgspec.Struct) -> bytes:
    """The message as UTF-8 JSON."""
    return _encoder.encode(message)
