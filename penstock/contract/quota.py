"""The shared record of one quota, in the bucket `llm_quota`; changed by compare-and-set only.

All instants are milliseconds of the record's own clock: it begins with the record, is carried on by the monotonic
clocks of its writers, and is independent of every wall clock (docs/decisions/0010).
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

__all__ = ["Carried", "Grain", "QuotaCorrection", "QuotaLearned", "QuotaLease", "QuotaRecord"]

Grain = tuple[int, int, int]
"""Spending within one grain of time: the number of the grain, requests, tokens."""

Carried = tuple[int, float, float]
"""Level of the token buckets at the end of a grain, of all that was spent until then: number of the grain, requests,
tokens."""


class QuotaLease(Struct, frozen=True, kw_only=True):
    """What one worker may spend without a write. The lease of a dead worker counts as spent at `until_ms`."""

    holder: str
    """The instance name of the worker."""
    number: int
    """Number of the holder's write: after a lost answer it shows whether that write was stored."""
    until_ms: int
    requests: int = 0
    tokens: int = 0
    slots: int = 0
    """Slots among the concurrent calls: in use and free."""
    waits_since_ms: int | None = None
    """When it began to wait for more than is free; the longest waiting worker is served first."""
    waits_for_tokens: int = 0
    queued: tuple[tuple[str, int], ...] | None = None
    """Requests waiting in the mailboxes from which the worker pulls, by mailbox; None: not reported."""


class QuotaCorrection(Struct, frozen=True, kw_only=True):
    """A correction of one limit by the provider's headers."""

    limit: str
    """The name of the limit in the catalogue, for example `tokens_per_minute`."""
    remaining_reported_ms: int = 0
    """When the latest header with a remaining amount came."""
    ceiling: int | None = None
    ceiling_reported_ms: int = 0
    """When the latest header with a limit came."""
    ceiling_until_ms: int = 0
    withheld: int = 0
    """What the provider counts beyond our own count."""
    withheld_until_ms: int = 0


class QuotaLearned(Struct, frozen=True, kw_only=True):
    """A limit that the catalogue does not configure, learned from the provider's refusals (decision 0018)."""

    per_minute: float
    """Requests that the provider admits per minute, as estimated at `measured_from_ms`."""
    first_per_minute: float = 0.0
    """The first estimate."""
    kind: Literal["window", "token_bucket"] = "window"
    measured_from_ms: int
    """When the refusal came from which the estimate was made; the next estimate counts calls from then on."""
    grows_from_ms: int
    """When the rate begins to grow."""
    refused_ms: int
    """When the latest refusal came."""
    calls: int = 0
    """Calls admitted since `measured_from_ms`."""
    is_measured: bool = False
    """Whether calls between two refusals were counted; the first estimate is a guess."""
    doubt: int = 0
    """Grows with refusals that contradict the limit; beyond a bound the limit is dropped."""
    reported_per_minute: int | None = None
    """Requests per minute in the headers of the provider."""
    tokens_per_minute: int | None = None
    """The limit of tokens in the provider's headers."""


class QuotaRecord(Struct, frozen=True, kw_only=True, tag="quota_record", tag_field="type"):
    """Consumption and leases of one (credential or quota group, model), shared by all workers that use it."""

    at_ms: int
    """When the record was written, on its own clock."""
    minute: tuple[Grain, ...] = ()
    day: tuple[Grain, ...] = ()
    leases: tuple[QuotaLease, ...] = ()
    """One per worker; that of a worker that holds nothing states its presence."""
    corrections: tuple[QuotaCorrection, ...] = ()
    carried: Carried | None = None
    learned: QuotaLearned | None = None
    paused_until_ms: int = 0
    pause_reason: str = ""
    v: int = 1
