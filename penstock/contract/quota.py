"""The shared account of one quota, in the bucket `llm_quota`; changed by compare-and-set only.

All instants are milliseconds of the record's own clock: it begins with the record, goes on with the monotonic clocks
of those who write, and has nothing to do with anybody's wall clock (docs/decisions/0010).
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

__all__ = ["Carried", "Grain", "QuotaCorrection", "QuotaLearned", "QuotaLease", "QuotaRecord"]

Grain = tuple[int, int, int]
"""What was spent within one grain of time: the grain's number, requests, tokens."""

Carried = tuple[int, float, float]
"""Of token buckets: the level left, at the end of the grain of that number, of all that was spent until then; requests,
tokens."""


class QuotaLease(Struct, frozen=True, kw_only=True):
    """What one worker may spend without asking. Of a worker that is gone it counts as spent at `until_ms`."""

    holder: str
    """The worker's instance."""
    number: int
    """Of the holder's write, by which it knows after a lost answer whether that write was stored."""
    until_ms: int
    requests: int = 0
    tokens: int = 0
    slots: int = 0
    """Of the concurrent calls; those in use and those at hand."""
    waits_since_ms: int | None = None
    """Since when it waits for more than is free; who waits longer goes first."""
    waits_for_tokens: int = 0
    queued: tuple[tuple[str, int], ...] | None = None
    """Requests that nobody has in hand, by the mailbox from which the worker takes them; None: it does not say."""


class QuotaCorrection(Struct, frozen=True, kw_only=True):
    """The provider's word on one limit, as long as it is believed."""

    limit: str
    """Its name in the catalogue, as `tokens_per_minute`."""
    said_ms: int = 0
    """When the latest word on what is left came."""
    ceiling: int | None = None
    ceiling_said_ms: int = 0
    """When the latest word on the limit itself came."""
    ceiling_until_ms: int = 0
    withheld: int = 0
    """What the provider says is gone beyond what we have counted."""
    withheld_until_ms: int = 0


class QuotaLearned(Struct, frozen=True, kw_only=True):
    """A limit that the catalogue does not name, as the provider's refusals tell it (decision 0018)."""

    per_minute: float
    """Requests that the provider admits, as estimated at `measured_from_ms`."""
    first_per_minute: float = 0.0
    """What was estimated first."""
    kind: Literal["window", "token_bucket"] = "window"
    measured_from_ms: int
    """When the refusal came by which the estimate was made; the next one is made of what is admitted from then on."""
    grows_from_ms: int
    """From when on more is tried, little by little."""
    refused_ms: int
    """The latest refusal."""
    calls: int = 0
    """Admitted since `measured_from_ms`."""
    is_measured: bool = False
    """By calls counted between two refusals; the first estimate is a guess."""
    doubt: int = 0
    """Grows with refusals that came though less was asked than this; from some figure on it is believed no longer."""
    said_per_minute: int | None = None
    """The limit in the provider's headers."""
    tokens_per_minute: int | None = None
    """The same, for tokens."""


class QuotaRecord(Struct, frozen=True, kw_only=True, tag="quota_record", tag_field="type"):
    """One (credential or quota group, model), shared by all workers that use it."""

    at_ms: int
    """When this was written, on the record's clock."""
    minute: tuple[Grain, ...] = ()
    day: tuple[Grain, ...] = ()
    leases: tuple[QuotaLease, ...] = ()
    """One per worker; of one that holds nothing it says that it is there."""
    corrections: tuple[QuotaCorrection, ...] = ()
    carried: Carried | None = None
    learned: QuotaLearned | None = None
    paused_until_ms: int = 0
    pause_reason: str = ""
    v: int = 1
