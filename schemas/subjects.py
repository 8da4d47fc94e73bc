"""Every subject, from broad to narrow, ids last. Subjects are written nowhere else."""

from __future__ import annotations

import hashlib
import re
from typing import Final, NamedTuple

__all__ = [
    "CANCEL",
    "CANCEL_ALL",
    "DEAD",
    "EVENT",
    "EXPLAIN",
    "QUOTA_STORED",
    "REPLY",
    "REQUEST",
    "REQUEST_ALL",
    "WORK",
    "ReplyAddress",
    "RequestAddress",
    "cancel",
    "cancelled_id",
    "dead",
    "event",
    "is_token",
    "quota_key",
    "reply",
    "reply_inbox",
    "request",
    "request_address",
    "token",
    "work",
]

REQUEST: Final = "llm.request.{account}.{kind}"
WORK: Final = "llm.work.{role}.{lane}"
REPLY: Final = "llm.reply.{account}.{client}.{id}"
CANCEL: Final = "llm.cancel.{account}.{id}"
EVENT: Final = "llm.event.{kind}.{scope}"
DEAD: Final = "llm.dead.{role}"
EXPLAIN: Final = "llm.router.explain"
QUOTA_STORED: Final = "llm.quota.>"

REQUEST_ALL: Final = "llm.request.*.*"
CANCEL_ALL: Final = "llm.cancel.*.*"

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class RequestAddress(NamedTuple):
    """What the subject of a request says: who asks, and for what kind of work."""

    account: str
    kind: str


class ReplyAddress(NamedTuple):
    """Where the reply events of one request go."""

    account: str
    client: str
    id: str

    @property
    def subject(self) -> str:
        return f"llm.reply.{self.account}.{self.client}.{self.id}"


def is_token(text: str) -> bool:
    """Whether `text` may stand as one token of a subject: 1 to 64 of A-Z a-z 0-9 _ -."""
    return _TOKEN.fullmatch(text) is not None


def token(text: str) -> str:
    """`text` made safe as one token: what is not allowed becomes `_`, the length is bounded."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", text)[:64] or "_"


def quota_key(owner: str, model: str) -> str:
    """The key in `llm_quota` of what `owner` (a credential or a quota group) may use of `model`."""
    return f"{_distinct(owner)}.{_distinct(model)}"


def _distinct(text: str) -> str:
    """A token; one that is not the text itself ends in a digest of it, so that no two texts share it."""
    safe = token(text)
    if safe == text:
        return text
    return f"{safe[:55]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def request(account: str, kind: str) -> str:
    return f"llm.request.{account}.{kind}"


def request_address(subject: str) -> RequestAddress:
    """The parts of a concrete request subject.

    Raises ValueError when it is not one.
    """
    parts = subject.split(".")
    if len(parts) != 4 or parts[:2] != ["llm", "request"] or not all(parts):
        raise ValueError(f"not a request subject: {subject!r}")
    return RequestAddress(parts[2], parts[3])


def work(role: str, lane: str) -> str:
    return f"llm.work.{role}.{lane}"


def reply(account: str, client: str, request_id: str) -> str:
    return f"llm.reply.{account}.{client}.{request_id}"


def reply_inbox(account: str, client: str) -> str:
    """The one subscription that receives every reply of a client."""
    return f"llm.reply.{account}.{client}.*"


def cancel(account: str, request_id: str) -> str:
    return f"llm.cancel.{account}.{request_id}"


def cancelled_id(subject: str) -> str:
    """The request id at the end of a cancel subject."""
    return subject.rpartition(".")[2]


def event(kind: str, scope: str) -> str:
    return f"llm.event.{kind}.{token(scope)}"


def dead(role: str) -> str:
    return f"llm.dead.{token(role)}"
