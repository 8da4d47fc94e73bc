"""Every subject, from broad to narrow, ids last. Subjects are written nowhere else."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from penstock.contract.names import RANKS

__all__ = [
    "BATCH_REQUEST",
    "BATCH_REQUEST_ALL",
    "BODY",
    "BODY_ALL",
    "BUDGETS_STORED",
    "CANCEL",
    "CANCEL_ALL",
    "CLASSIFY",
    "DEAD",
    "DEAD_ALL",
    "EVENT",
    "EVENT_ALL",
    "EXPLAIN",
    "GUARD_CHECK",
    "GUARD_CHECK_OF",
    "GUARD_POLICIES_STORED",
    "JOB",
    "JOB_ALL",
    "JOURNAL",
    "JOURNAL_ALL",
    "KEYS_STORED",
    "LEDGER_BUDGET",
    "LEDGER_HOLD",
    "LEDGER_PARTITIONS",
    "LEDGER_RECENT",
    "LEDGER_SPEND",
    "MAX_TOKEN_CHARACTERS",
    "PROBE",
    "QUOTA_EVENTS",
    "QUOTA_STORED",
    "REPLY",
    "REPLY_ALL",
    "REQUEST",
    "REQUEST_ALL",
    "RESULT",
    "RESULT_ALL",
    "SNAPSHOT",
    "SNAPSHOT_ALL",
    "SPEND",
    "SYSTEM_PARTITION",
    "USAGE",
    "USAGE_ALL",
    "WORK",
    "WORK_ALL",
    "ReplyAddress",
    "RequestAddress",
    "WorkAddress",
    "account_of_flow",
    "all_usage_of",
    "body_offset",
    "body_part",
    "body_parts",
    "budget_event",
    "cancel",
    "dead",
    "dead_role",
    "event",
    "flow",
    "hold_id",
    "is_token",
    "job",
    "jobs_of",
    "journal",
    "ledger_budget",
    "ledger_hold",
    "ledger_recent",
    "limit_event",
    "partition_of",
    "quota_key",
    "reply",
    "reply_address",
    "reply_inbox",
    "request",
    "request_address",
    "result",
    "snapshot",
    "spend_of",
    "token",
    "usage",
    "work",
    "work_address",
    "work_of_flow",
    "work_of_lane",
    "work_of_rank",
]

REQUEST: Final = "llm.request.{account}.{kind}"
BATCH_REQUEST: Final = "llm.request.{account}.{kind}.batch"
WORK: Final = "llm.work.{role}.{lane}.{rank}.{flow}"
REPLY: Final = "llm.reply.{account}.{client}.{id}"
CANCEL: Final = "llm.cancel.{account}.{id}"
EVENT: Final = "llm.event.{kind}.{scope}"
USAGE: Final = "llm.event.usage.{partition}.{account}"
"""Usage of attempts and releases of holds: what the ledger settles, by its partition of the account."""
QUOTA_EVENTS: Final = EVENT.format(kind="quota", scope="*")
"""Pauses and warnings of all models."""
DEAD: Final = "llm.dead.{role}"
JOB: Final = "llm.job.{account}.{client}.{id}"
RESULT: Final = "llm.result.{account}.{client}.{id}.{attempt}"
BODY: Final = "llm.body.{account}.{client}.{id}.{upload}.{offset}"
EXPLAIN: Final = "llm.router.explain"
QUOTA_STORED: Final = "llm.quota.>"
KEYS_STORED: Final = "llm.keys.>"
BUDGETS_STORED: Final = "llm.budgets.>"
GUARD_POLICIES_STORED: Final = "llm.guard_policies.>"
GUARD_CHECK: Final = "llm.guard.check"
GUARD_CHECK_OF: Final = "llm.guard.check.{instance}"
CLASSIFY: Final = "llm.classify"
LEDGER_PARTITIONS: Final = 8
"""The ledger's partitions of accounts; a fixed number, because each account has its history in one."""
SYSTEM_PARTITION: Final = "system"
"""The partition that counts the limits of the whole system."""
LEDGER_HOLD: Final = "llm.ledger.hold.{partition}"
LEDGER_BUDGET: Final = "llm.ledger.budget.{partition}"
LEDGER_RECENT: Final = "llm.ledger.recent.{partition}"
LEDGER_SPEND: Final = "llm.ledger.spend"
JOURNAL: Final = "llm.journal.{partition}"
SNAPSHOT: Final = "llm.snapshot.{partition}.{part}"
SPEND: Final = "llm.spend.{grain}.{start}.{partition}.{chunk}"


def _all(template: str) -> str:
    """The wildcard that matches every subject of `template`."""
    return re.sub(r"\{\w+\}", "*", template)


REQUEST_ALL: Final = _all(REQUEST)
BATCH_REQUEST_ALL: Final = _all(BATCH_REQUEST)
WORK_ALL: Final = "llm.work.>"
"""Wider than the template: messages of a router of another version are stored too, and the sweep finds them."""
REPLY_ALL: Final = _all(REPLY)
CANCEL_ALL: Final = _all(CANCEL)
EVENT_ALL: Final = _all(EVENT)
"""All events but usage, whose subjects have one token more."""
DEAD_ALL: Final = _all(DEAD)
JOB_ALL: Final = _all(JOB)
RESULT_ALL: Final = _all(RESULT)
BODY_ALL: Final = _all(BODY)
JOURNAL_ALL: Final = _all(JOURNAL)
SNAPSHOT_ALL: Final = _all(SNAPSHOT)
USAGE_ALL: Final = _all(USAGE)
PROBE: Final = "llm.probe.{stream}"
_REQUEST_START, _WORK_START, _REPLY_START = (each.split(".")[:2] for each in (REQUEST, WORK, REPLY))
_RANKS: Final = frozenset(map(str, RANKS))
_ACCOUNT_DIGITS: Final = 8
_USER_DIGITS: Final = 12
_MOST_FLOWS: Final = 10_000
"""Cached flow tokens, and subjects of requests; one request needs its own several times."""
MAX_TOKEN_CHARACTERS: Final = 64
"""Length of the longest token."""
_TOKEN: Final = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_TOKEN_CHARACTERS}}}")
_NOT_IN_TOKEN: Final = re.compile(r"[^A-Za-z0-9_-]")


class RequestAddress(NamedTuple):
    """The parts of a request subject: the account and the kind of work."""

    account: str
    kind: str


class WorkAddress(NamedTuple):
    """The parts of a work subject: the mailbox, the rank in it, and the flow token of account and user."""

    role: str
    lane: str
    rank: int
    flow: str


class ReplyAddress(NamedTuple):
    """The parts of a reply subject, which identify one request."""

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
    """`text` as one token: every other character becomes `_`, and the length is bounded."""
    return _NOT_IN_TOKEN.sub("_", text)[:MAX_TOKEN_CHARACTERS] or "_"


def quota_key(owner: str, model: str) -> str:
    """The key in `llm_quota` for the quota of `owner` (a credential or a quota group) on `model`."""
    return f"{_distinct(owner)}.{_distinct(model)}"


def _distinct(text: str) -> str:
    """A token for `text`; a changed one ends in a digest, so that no two texts share a token."""
    safe = token(text)
    if safe == text:
        return text
    return f"{safe[:55]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def request(account: str, kind: str, lane: str = "interactive") -> str:
    return (BATCH_REQUEST if lane == "batch" else REQUEST).format(account=account, kind=kind)


def request_address(subject: str) -> RequestAddress:
    """The parts of a concrete request subject, of either lane. Raises ValueError when it is not one."""
    parts = subject.split(".")
    if not (len(parts) == 4 or parts[4:] == ["batch"]) or parts[:2] != _REQUEST_START or not all(parts):
        raise ValueError(f"not a request subject: {subject!r}")
    return RequestAddress(parts[2], parts[3])


@lru_cache(_MOST_FLOWS)
def flow(account: str, user: str) -> str:
    """The flow token of (account, user), the unit of fair queueing; it begins with the token of the account.

    48 bits for the user, so that no user can choose a name with the token of another; 32 bits for the account, whose
    name its users do not choose. Requests without a user share one flow per account.
    """
    return _digest(account)[:_ACCOUNT_DIGITS] + _digest(f"{account}.{user}")[:_USER_DIGITS]


def account_of_flow(token_of_flow: str) -> str:
    """The prefix of the flow tokens of all users of one account."""
    return token_of_flow[:_ACCOUNT_DIGITS]


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()


def work(role: str, lane: str, rank: int, flow: str) -> str:
    return WORK.format(role=role, lane=lane, rank=rank, flow=flow)


def work_of_rank(role: str, lane: str, rank: int) -> str:
    """Matches the work of every flow in one rank of a mailbox."""
    return work(role, lane, rank, "*")


def work_of_lane(lane: str) -> str:
    """Matches the work of every flow in one lane of all mailboxes."""
    return f"{'.'.join(_WORK_START)}.*.{lane}.*.*"


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
    return REPLY.format(account=account, client=client, id=request_id)


def reply_address(subject: str) -> ReplyAddress | None:
    """The parts of a reply subject; None for any other text."""
    parts = subject.split(".")
    if len(parts) != 5 or parts[:2] != _REPLY_START or not all(map(is_token, parts[2:])):
        return None
    return ReplyAddress(*parts[2:])


def reply_inbox(account: str, client: str) -> str:
    """The filter for every reply of a client."""
    return reply(account, client, "*")


def cancel(account: str, request_id: str) -> str:
    return CANCEL.format(account=account, id=request_id)


def event(kind: str, scope: str) -> str:
    return EVENT.format(kind=kind, scope=token(scope))


def limit_event(record: str, limit: str) -> str:
    """The subject of warnings about one limit of a shared quota; its last message is the current state."""
    return EVENT.format(kind="limit", scope=_distinct(f"{record}.{limit}"))


def dead(role: str) -> str:
    return DEAD.format(role=token(role))


def dead_role(subject: str) -> str:
    """The role of a dead letter, or `router`; empty for any other subject."""
    start = DEAD.format(role="")
    return subject.removeprefix(start) if subject.startswith(start) else ""


def job(account: str, client: str, request_id: str) -> str:
    return JOB.format(account=account, client=client, id=request_id)


def jobs_of(account: str, request_id: str = "*") -> str:
    """The filter for the jobs of all clients of an account."""
    return job(account, "*", request_id)


def result(account: str, client: str, request_id: str, attempt: int) -> str:
    return RESULT.format(account=account, client=client, id=request_id, attempt=attempt)


def body_part(address: ReplyAddress, upload: str, offset: int | Literal["*"]) -> str:
    """The part of a stored body that begins at byte `offset`. `upload`: an id of the time it is stored."""
    account, client, request = address
    return BODY.format(account=account, client=client, id=request, upload=upload, offset=offset)


def body_parts(address: ReplyAddress, upload: str = "*") -> str:
    """The filter for all parts of the body of one request, or for those of one upload."""
    return body_part(address, upload, "*")


def body_offset(subject: str) -> int:
    """The offset of a part. Raises ValueError for any other subject."""
    return int(subject.rpartition(".")[2])


@lru_cache(_MOST_FLOWS)
def partition_of(account: str) -> str:
    """The ledger's partition of an account."""
    return str(int(_digest(account)[:8], 16) % LEDGER_PARTITIONS)


def hold_id(address: ReplyAddress) -> str:
    """The id of the hold of a request, and the key by which its attempts are booked once."""
    return ".".join(address)


def usage(account: str) -> str:
    """The subject of the usage of an account."""
    return USAGE.format(partition=partition_of(account), account=token(account))


def all_usage_of(partition: str) -> str:
    """The filter for the usage that a partition of the ledger settles; that of the system settles all."""
    return USAGE.format(partition="*" if partition == SYSTEM_PARTITION else partition, account="*")


def ledger_hold(partition: str) -> str:
    return LEDGER_HOLD.format(partition=partition)


def ledger_budget(partition: str) -> str:
    return LEDGER_BUDGET.format(partition=partition)


def ledger_recent(partition: str) -> str:
    return LEDGER_RECENT.format(partition=partition)


def journal(partition: str) -> str:
    return JOURNAL.format(partition=partition)


def snapshot(partition: str, part: str) -> str:
    """`part`: `head`, or `<journal sequence>-<number>` of a part."""
    return SNAPSHOT.format(partition=partition, part=part)


def spend_of(grain: str, start_s: int | None = None, partition: str = "*") -> str:
    """The filter for the history of one period, or of all periods of a grain."""
    start = "*" if start_s is None else start_s
    return SPEND.format(grain=grain, start=start, partition=partition, chunk="*")


def budget_event(
    scope: str, name: str, period_start_s: int, limit: str, percent: int, traffic: str | None = None
) -> str:
    """The subject of one alert about a budget, or about its part for one class of traffic: each is published once."""
    alert = f"{scope}.{name}.{limit}.{period_start_s}.{percent}" + (f".{traffic}" if traffic else "")
    return EVENT.format(kind="budget", scope=_distinct(alert))
