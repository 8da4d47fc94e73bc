"""The journal of the ledger: the entries from which its state is computed.

A batch is appended to the subject of its partition with the expected last sequence of that subject, so that only one
process can write to a partition. Entries are arrays, because there are several for each request.
"""

from __future__ import annotations

from msgspec import Struct

from penstock.contract.ledger.policies import LimitName, Scope, TrafficClass
from penstock.contract.names import Role

__all__ = [
    "Alerted",
    "Held",
    "JournalBatch",
    "JournalEntry",
    "LedgerSnapshot",
    "Released",
    "Settled",
    "TookOver",
]


class Held(Struct, frozen=True, array_like=True, tag=1, kw_only=True, gc=False):
    """A hold was granted or raised; the amounts are cumulative."""

    id: str
    account: str
    user: str
    key: str
    traffic: TrafficClass
    role: Role
    picousd: int
    tokens: int
    at_ms: int
    deadline_ms: int
    time_zone: str = ""
    """Of the periods to which the hold counts; empty: UTC."""
    raises: bool = False
    """Of a hold that has ended, if there is one, its attempts are kept. False: they belong to an earlier request."""


class Settled(Struct, frozen=True, array_like=True, tag=2, kw_only=True, gc=False):
    """The usage of one provider attempt was booked."""

    id: str
    """Of the hold."""
    attempt: int
    account: str
    user: str
    key: str
    traffic: TrafficClass
    role: Role
    model: str
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    reasoning_tokens: int
    picousd: int
    saved_by_cache_picousd: int
    saved_by_routing_picousd: int
    estimated: bool
    priced: bool
    completed: bool
    """The attempt answered the request."""
    ends: bool
    """The request is over: the rest of its hold is released."""
    at_ms: int
    """When the request was accepted by the ledger; without a hold, when the attempt ended."""
    time_zone: str = ""


class Released(Struct, frozen=True, array_like=True, tag=3, kw_only=True, gc=False):
    """The rest of a hold was released; `why` is the error code of the request, the outcome of its last attempt, or
    `expired`.
    """

    id: str
    why: str
    at_ms: int


class Alerted(Struct, frozen=True, array_like=True, tag=4, kw_only=True, gc=False):
    """A budget reached a share of its limit; published once per period."""

    scope: Scope
    account: str
    name: str
    limit: LimitName
    percent: int
    """80, or 100 when the limit is used up."""
    period_start_s: int
    spent: int
    allowed: int
    at_ms: int
    traffic: TrafficClass | None = None
    """Of a limit for one class of traffic; None: for all traffic."""


class TookOver(Struct, frozen=True, array_like=True, tag=5, kw_only=True, gc=False):
    """A process became the owner of the partition; an earlier owner can write nothing after this."""

    instance: str
    at_ms: int


JournalEntry = Held | Settled | Released | Alerted | TookOver


class JournalBatch(Struct, frozen=True, kw_only=True, tag="journal_batch", tag_field="type"):
    """Entries that were stored together."""

    entries: tuple[JournalEntry, ...]
    usage_sequence: int = 0
    """The last message of `LLM_EVENTS` whose usage is in this batch or an earlier one."""
    previous: int = 0
    """Sequence of the partition's batch before this one, whether or not it is still stored; 0: there is none."""
    v: int = 1


class LedgerSnapshot(Struct, frozen=True, kw_only=True, tag="ledger_snapshot", tag_field="type"):
    """The head of a snapshot: the state of a partition after `journal_sequence`, and its spend since the snapshot
    before, in parts stored under their own subjects.
    """

    journal_sequence: int
    usage_sequence: int
    parts: int
    sha256: str
    """Of all parts together."""
    at_ms: int
    journal_base: int = 0
    """What `journal_sequence` adds to the sequence in the stream: where the books stood when the stream of journals was
    last created anew, so that they never go backwards."""
    v: int = 1
