"""Every subject, from broad to narrow, ids last. Subjects are written nowhere else."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Final, NamedTuple

from penstock.contract.names import RANKS

__all__ = [
    "CANCEL",
    "CANCEL_ALL",
    "DEAD",
    "DEAD_ALL",
    "EVENT",
    "EVENT_ALL",
    "EXPLAIN",
    "JOB",
    "JOB_ALL",
    "QUOTA_EVENTS",
    "QUOTA_STORED",
    "REPLY",
    "REPLY_ALL",
    "REQUEST",
    "REQUEST_ALL",
    "RESULT",
    "RESULT_ALL",
    "WORK",
    "WORK_ALL",
    "ReplyAddress",
    "RequestAddress",
    "WorkAddress",
    "account_of_flow",
    "cancel",
    "dead",
    "dead_role",
    "event",
    "flow",
    "is_token",
    "job",
    "jobs_of",
    "limit_event",
    "quota_key",
    "reply",
    "reply_address",
    "reply_inbox",
    "request",
    "request_address",
    "result",
    "token",
    "work",
    "work_address",
    "work_of_flow",
    "work_of_rank",
]

REQUEST: Final = "llm.request.{account}.{kind}"
WORK: Final = "llm.work.{role}.{lane}.{rank}.{flow}"
REPLY: Final = "llm.reply.{account}.{client}.{id}"
CANCEL: Final = "llm.cancel.{account}.{id}"
EVENT: Final = "llm.event.{kind}.{scope}"
QUOTA_EVENTS: Final = EVENT.format(kind="quota", scope="*")
"""Pauses and warnings of all models."""
DEAD: Final = "llm.dead.{role}"
JOB: Final = "llm.job.{account}.{client}.{id}"
RESULT: Final = "llm.result.{account}.{client}.{id}.{attempt}"
EXPLAIN: Final = "llm.router.explain"
QUOTA_STORED: Final = "llm.quota.>"


def _all(template: str) -> str:
    """The wildcard that matches every subject of `template`."""
    return re.sub(r"\{\w+\}", "*", template)


REQUEST_ALL: Final = _all(REQUEST)
WORK_ALL: Final = "llm.work.>"
"""Wider than the template: what a router of another version writes is kept, and the sweep finds it."""
REPLY_ALL: Final = _all(REPLY)
CANCEL_ALL: Final = _all(CANCEL)
EVENT_ALL: Final = _all(EVENT)
DEAD_ALL: Final = _all(DEAD)
JOB_ALL: Final = _all(JOB)
RESULT_ALL: Final = _all(RESULT)

_request: Final = REQUEST.format
_work: Final = WORK.format
_reply: Final = REPLY.format
_cancel: Final = CANCEL.format
_event: Final = EVENT.format
_dead: Final = DEAD.format
_job: Final = JOB.format
_result: Final = RESULT.format

_REQUEST_START: Final = REQUEST.split(".")[:2]
_WORK_START: Final = WORK.split(".")[:2]
_REPLY_START: Final = REPLY.split(".")[:2]
_RANKS: Final = frozenset(map(str, RANKS))
_ACCOUNT_DIGITS: Final = 8
_USER_DIGITS: Final = 12
_MOST_FLOWS: Final = 10_000
"""Remembered: a request asks for its flow several times."""
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NOT_IN_TOKEN: Final = re.compile(r"[^A-Za-z0-9_-]")


class RequestAddress(NamedTuple):
    """What the subject of a request says: who asks, and for what kind of work."""

    account: str
    kind: str


class WorkAddress(NamedTuple):
    """What the subject of work says: whose mailbox, which part of it, and (folded) who asked."""

    role: str
    lane: str
    rank: int
    flow: str


class ReplyAddress(NamedTuple):
    """Where the reply events of one request go."""

    account: str
    client: str
    id: str

    @property
    def subject(self) -> str:
        return reply(self.account, self.client, self.id)


def is_token(text: str) -> bool:
    """Whether `text` may stand as one token of a subject: 1 to 64 of A-Z a-z 0-9 _ -."""
    return _TOKEN.fullmatch(text) is not None


def token(text: str) -> str:
    """`text` made safe as one token: what is not allowed becomes `_`, the length is bounded."""
    return _NOT_IN_TOKEN.sub("_", text)[:64] or "_"


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
    return _request(account=account, kind=kind)


def request_address(subject: str) -> RequestAddress:
    """The parts of a concrete request subject.

    Raises ValueError when it is not one.
    """
    parts = subject.split(".")
    if len(parts) != 4 or parts[:2] != _REQUEST_START or not all(parts):
        raise ValueError(f"not a request subject: {subject!r}")
    return RequestAddress(parts[2], parts[3])


@lru_cache(_MOST_FLOWS)
def flow(account: str, user: str) -> str:
    """The token of (account, user), whose requests stand in one place of the queue; it begins with the account's.

    48 bits of the user, so that nobody finds a name to stand in somebody else's place; 32 of the account, whose name
    nobody chooses for himself. Users without a name are one user of their account.
    """
    return _digest(account)[:_ACCOUNT_DIGITS] + _digest(f"{account}.{user}")[:_USER_DIGITS]


def account_of_flow(token_of_flow: str) -> str:
    """What the tokens of all users of one account begin with."""
    return token_of_flow[:_ACCOUNT_DIGITS]


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()


def work(role: str, lane: str, rank: int, flow: str) -> str:
    return _work(role=role, lane=lane, rank=rank, flow=flow)


def work_of_rank(role: str, lane: str, rank: int) -> str:
    """Matches the work of every flow in one rank of a mailbox."""
    return work(role, lane, rank, "*")


def work_of_flow(token_of_flow: str) -> str:
    """Matches the work of one flow in every mailbox."""
    return f"{'.'.join(_WORK_START)}.*.*.*.{token_of_flow}"


def work_address(subject: str) -> WorkAddress | None:
    """The parts of a concrete work subject; None for anything else."""
    parts = subject.split(".")
    if len(parts) != 6 or parts[:2] != _WORK_START or not all(parts) or parts[4] not in _RANKS:
        return None
    return WorkAddress(parts[2], parts[3], int(parts[4]), parts[5])


def reply(account: str, client: str, request_id: str) -> str:
    return _reply(account=account, client=client, id=request_id)


def reply_address(subject: str) -> ReplyAddress | None:
    """The parts of a reply subject; None for anything else, hostile headers included."""
    parts = subject.split(".")
    if len(parts) != 5 or parts[:2] != _REPLY_START or not all(map(is_token, parts[2:])):
        return None
    return ReplyAddress(*parts[2:])


def reply_inbox(account: str, client: str) -> str:
    """The one subscription that receives every reply of a client."""
    return reply(account, client, "*")


def cancel(account: str, request_id: str) -> str:
    return _cancel(account=account, id=request_id)


def event(kind: str, scope: str) -> str:
    return _event(kind=kind, scope=token(scope))


def limit_event(record: str, limit: str) -> str:
    """Where the warnings about one limit of a shared quota are told: its last message says what holds."""
    return _event(kind="limit", scope=_distinct(f"{record}.{limit}"))


def dead(role: str) -> str:
    return _dead(role=token(role))


def dead_role(subject: str) -> str:
    """Whose dead letter it is: a role, or the router. Empty for what is no subject of a dead letter."""
    start = _dead(role="")
    return subject.removeprefix(start) if subject.startswith(start) else ""


def job(account: str, client: str, request_id: str) -> str:
    return _job(account=account, client=client, id=request_id)


def jobs_of(account: str, request_id: str = "*") -> str:
    """The filter for the jobs of an account, whichever client asked."""
    return job(account, "*", request_id)


def result(account: str, client: str, request_id: str, attempt: int) -> str:
    return _result(account=account, client=client, id=request_id, attempt=attempt)
