"""What a living service says of itself every few seconds in the bucket `llm_presence`."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from penstock.contract.names import DegradationRule, Role

__all__ = [
    "BreakerStatus",
    "CredentialStatus",
    "DegradedModel",
    "LearnedLimit",
    "LimitPast",
    "LimitStatus",
    "Presence",
    "QuotaForecast",
    "Recovery",
    "RoleStatus",
]


class RoleStatus(Struct, frozen=True, kw_only=True):
    """One role of a worker."""

    role: Role
    slots: int
    running: int
    ready_at_ms: int = 0
    """When quota and breakers let the next request through; 0: now. Unix milliseconds."""
    batch_slots: int = 0
    """For the batch lane, beside `slots`."""
    calling: int = 0
    """Of those running: how many have been let through to a provider; the others wait for quota."""
    ended: int = 0
    """Requests that came to their end here since the worker started."""
    service_ms: int | None = None
    """How long one of the latest requests held its slot, in the mean, its waiting for quota not counted; None: no
    request has ended yet."""
    longest_ms: int | None = None
    """What 19 of 20 of them stayed within."""
    calls_each: float = 1.0
    """Attempts that one of the latest requests took, in the mean."""


class LimitPast(Struct, frozen=True, kw_only=True):
    """What happened to a limit in a span of time, as far as this worker watched it; it forgets at its end."""

    near_s: int = 0
    """Seconds in which it was nearly used up or full."""
    full_s: int = 0
    """Seconds in which nothing was left, or too little for a request that came."""
    missed: int = 0
    """Requests of this worker that it could not let through when they came: they waited, or another model answered."""
    peak: int = 0
    """The most that was used."""
    unmet: int = 0
    """What those requests wanted, in the limit's unit: of a limit per day altogether, else in the worst minute."""


class LimitStatus(Struct, frozen=True, kw_only=True):
    """One limit of one (credential, model), as this worker sees it."""

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
    """The key in `llm_quota` under which all workers share it; empty: this worker counts for itself."""
    warned: bool = False
    """It was nearly used up, and is not at ease again."""
    full_at_ms: int = 0
    """When it will be full if its use goes on as it did lately; 0: not as far as can be told. Unix milliseconds."""
    watched_s: int = 0
    """For how long this worker has watched it."""
    hour: LimitPast = field(default_factory=LimitPast)
    day: LimitPast = field(default_factory=LimitPast)


class LearnedLimit(Struct, frozen=True, kw_only=True):
    """A limit that the catalogue does not name, as the provider's refusals and headers tell it."""

    credential: str
    model: str
    requests_per_minute: int
    tokens_per_minute: int | None = None
    kind: Literal["window", "token_bucket"] = "window"


class BreakerStatus(Struct, frozen=True, kw_only=True):
    """A breaker that is not closed."""

    model: str
    state: str
    retry_at_ms: int


class Recovery(Struct, frozen=True, kw_only=True):
    """When one limit has how much to give, if nothing more is spent."""

    limit: str
    """Its name in the catalogue, as `tokens_per_minute`."""
    window_ms: int
    allowed: int
    """Within one window."""
    free: int
    """Now; below nothing where more was spent than foreseen."""
    returns: tuple[tuple[int, int], ...] = ()
    """In so many milliseconds, so much is free again; in order, and never too early."""


class QuotaForecast(Struct, frozen=True, kw_only=True):
    """What one (credential or quota group, model) will give, as this worker sees it."""

    model: str
    """As the chains name it."""
    source: str
    """Forecasts of several workers with the same source speak of one and the same quota; those of a worker that counts
    for itself have a source of their own."""
    paused_ms: int = 0
    """What is left of the pause after a 429; it holds for all who share the quota."""
    breaker_ms: int = 0
    """In how long this worker's own breaker lets a call through."""
    recoveries: tuple[Recovery, ...] = ()
    """None: there is no limit."""
    concurrency: int | None = None
    tokens_each: int = 0
    """What the latest calls used, in the mean; 0: not known."""


class CredentialStatus(Struct, frozen=True, kw_only=True):
    """One credential of one provider, as this worker sees it; never the key."""

    credential: str
    provider: str
    age_days: int | None = None
    """None: nobody said since when its key is in use."""
    max_age_days: float = 90.0
    refused_for: tuple[str, ...] = ()
    """Models for which the provider refuses it."""
    trouble: str = ""
    """What is wrong with its file in the directory of secrets; empty: nothing."""


class DegradedModel(Struct, frozen=True, kw_only=True):
    """A model that requests of a role are shortened for."""

    role: Role
    model: str
    rule: DegradationRule


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
    """Of models that have no limit in the catalogue, and refused calls lately."""
    breakers: tuple[BreakerStatus, ...] = ()
    degraded: tuple[DegradedModel, ...] = ()
    withdrawn: tuple[str, ...] = ()
    forecasts: tuple[QuotaForecast, ...] = ()
    """Of the models in the chains of its roles."""
    credentials: tuple[CredentialStatus, ...] = ()
    keyless: tuple[str, ...] = ()
    """Providers of its roles' chains of whose keys none is set."""
    unreachable: tuple[str, ...] = ()
    """Providers to which it could not connect lately."""
    unreachable_quotas: tuple[str, ...] = ()
    """Keys of `llm_quota` whose records the worker cannot reach: requests that need those quotas wait."""
    catalogue: str = ""
    """Digest of the catalogue that this process loaded; empty: not reported."""
    v: int = 1
