"""The heartbeat of a service, written every few seconds to the bucket `llm_presence`."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct, field

from penstock.contract.names import DegradationRule, Role

__all__ = [
    "REPLY_SLOT_S",
    "AccountReplies",
    "BreakerStatus",
    "CredentialStatus",
    "DegradedModel",
    "LearnedLimit",
    "LimitStatus",
    "PastUsage",
    "Presence",
    "QuotaForecast",
    "Recovery",
    "RoleStatus",
]


class RoleStatus(Struct, frozen=True, kw_only=True):
    """The load of one role of a worker."""

    role: Role
    slots: int
    running: int
    ready_at_ms: int = 0
    """When quota and breakers allow the next call, Unix milliseconds; 0: now."""
    batch_slots: int = 0
    """Slots of the batch lane, in addition to `slots`."""
    calling: int = 0
    """Running requests that are in a provider call; the others wait for quota."""
    ended: int = 0
    """Requests that ended on this worker since it started."""
    service_ms: int | None = None
    """Mean time for which the latest requests held their slots, without the wait for quota; None: no request has ended
    yet."""
    service_p95_ms: int | None = None
    """95th percentile of the same time."""
    attempts_per_request: float = 1.0
    """Mean number of attempts of the latest requests."""


class PastUsage(Struct, frozen=True, kw_only=True):
    """The history of a limit in a span of time, as observed by this worker since it started."""

    near_limit_s: int = 0
    """Seconds in which the limit was nearly or completely used up."""
    full_s: int = 0
    """Seconds in which nothing was left, or too little for a request that arrived."""
    throttled: int = 0
    """Requests of this worker that had to wait or went to another model because of the limit."""
    peak: int = 0
    """The highest use."""
    unmet: int = 0
    """Demand of those requests in the unit of the limit: in all for a limit per day, else in the worst minute."""


class LimitStatus(Struct, frozen=True, kw_only=True):
    """One limit of one (credential, model), as observed by this worker."""

    credential: str
    model: str
    limit: str
    """requests_per_minute, tokens_per_minute, requests_per_day, tokens_per_day or concurrency."""
    used: int
    """Spent, leased and withheld amounts together."""
    leased: int = 0
    """Part of `used` that workers hold as leases and have not reported as spent; 0 for a limit that this worker counts
    alone."""
    allowed: int
    record: str = ""
    """The key in `llm_quota` under which all workers share the limit; empty: this worker counts alone."""
    warned: bool = False
    """A warning is active: the limit was nearly used up and has not eased since."""
    full_at_ms: int = 0
    """Forecast time at which the limit is used up, Unix milliseconds; 0: no forecast."""
    watched_s: int = 0
    """Seconds for which this worker has observed the limit."""
    hour: PastUsage = field(default_factory=PastUsage)
    day: PastUsage = field(default_factory=PastUsage)


class LearnedLimit(Struct, frozen=True, kw_only=True):
    """A limit that the catalogue does not name, learned from the rejections and headers of the provider."""

    credential: str
    model: str
    requests_per_minute: int
    tokens_per_minute: int | None = None
    kind: Literal["window", "token_bucket"] = "window"


class BreakerStatus(Struct, frozen=True, kw_only=True):
    """A circuit breaker that is not closed."""

    model: str
    state: str
    retry_at_ms: int


class Recovery(Struct, frozen=True, kw_only=True):
    """When one limit has capacity again if no more calls are made."""

    limit: str
    """The name of the limit in the catalogue, for example `tokens_per_minute`."""
    window_ms: int
    allowed: int
    """Capacity of one window."""
    free: int
    """Free capacity now; negative when more was spent than estimated."""
    returns: tuple[tuple[int, int], ...] = ()
    """Pairs of (milliseconds from now, amount that is free again by then), in order; never too early."""


class QuotaForecast(Struct, frozen=True, kw_only=True):
    """Forecast capacity of one (credential or quota group, model), as observed by this worker."""

    model: str
    """The name of the model in the chains."""
    source: str
    """Identifies the quota: forecasts of several workers with the same source describe one shared quota; a worker that
    counts alone has its own sources."""
    paused_ms: int = 0
    """Remaining pause after a 429; it applies to every worker that shares the quota."""
    breaker_ms: int = 0
    """Time until the circuit breaker of this worker allows a call."""
    recoveries: tuple[Recovery, ...] = ()
    """Empty: there is no limit."""
    concurrency: int | None = None
    tokens_per_call: int = 0
    """Mean tokens of the latest calls; 0: unknown."""


class CredentialStatus(Struct, frozen=True, kw_only=True):
    """One credential of one provider, as observed by this worker; never the key."""

    credential: str
    provider: str
    age_days: int | None = None
    """None: the date of the key is not configured."""
    max_age_days: float = 90.0
    refused_for: tuple[str, ...] = ()
    """Models for which the provider rejects the credential."""
    file_problem: str = ""
    """The problem with its file in the secrets directory; empty: none."""


class DegradedModel(Struct, frozen=True, kw_only=True):
    """A model for which requests of a role are shortened."""

    role: Role
    model: str
    rule: DegradationRule


REPLY_SLOT_S: Final = 10
"""Seconds that one figure of `AccountReplies` covers."""


class AccountReplies(Struct, frozen=True, kw_only=True):
    """What one worker stored in `LLM_REPLIES` for one account."""

    account: str
    stored: tuple[tuple[int, int], ...]
    """Pairs of (age in seconds, bytes): stored so long ago or up to `REPLY_SLOT_S` seconds later, the latest first."""
    unfinished_s: int = 0
    """Age of the oldest large reply that is not finished; 0: there is none."""


class Presence(Struct, frozen=True, kw_only=True, tag="presence", tag_field="type"):
    """Key `<service>.<instance>`; the key's absence for 30 s means the instance is gone."""

    service: str
    instance: str
    at_ms: int
    http: str = ""
    """Base address of its `/health` and `/metrics`."""
    roles: tuple[RoleStatus, ...] = ()
    limits: tuple[LimitStatus, ...] = ()
    learned: tuple[LearnedLimit, ...] = ()
    """Learned limits of models that have none in the catalogue and rejected calls recently."""
    breakers: tuple[BreakerStatus, ...] = ()
    degraded: tuple[DegradedModel, ...] = ()
    withdrawn_models: tuple[str, ...] = ()
    forecasts: tuple[QuotaForecast, ...] = ()
    """Forecasts for the models in the chains of its roles."""
    credentials: tuple[CredentialStatus, ...] = ()
    providers_without_key: tuple[str, ...] = ()
    """Providers in the chains of its roles that have no key set."""
    unreachable_providers: tuple[str, ...] = ()
    """Providers to which it could not connect lately."""
    unreachable_quotas: tuple[str, ...] = ()
    """Keys of `llm_quota` whose records the worker cannot reach: requests that need those quotas wait."""
    catalogue: str = ""
    """Digest of the catalogue that this process loaded; empty: not reported."""
    roles_in_use: tuple[Role, ...] = ()
    """Of a router: the implicit roles that have work, or had some moments ago; workers pull from their mailboxes."""
    partitions: tuple[str, ...] = ()
    """Of a ledger: the partitions that it owns."""
    clock_offset_s: float = 0.0
    """Seconds by which the clock of its machine is ahead of the NATS server; `at_ms` is that of the server."""
    replies: tuple[AccountReplies, ...] = ()
    """Of a worker: the accounts with the most bytes in `LLM_REPLIES`."""
    v: int = 1
