"""Facts: what happened, kept 30 days in `LLM_EVENTS`. The audit log is a reader of these."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from penstock.contract.names import Complexity, DegradationRule, Lane, Role

__all__ = [
    "BreakerChanged",
    "CredentialAged",
    "CredentialAvailabilityChanged",
    "CredentialRotated",
    "Event",
    "ModelAvailabilityChanged",
    "QuotaEased",
    "QuotaPaused",
    "QuotaWarned",
    "UsageRecorded",
]

BreakerState = Literal["closed", "open", "half_open"]


class UsageRecorded(Struct, frozen=True, kw_only=True, tag="usage_recorded", tag_field="type"):
    """One provider attempt, whatever became of it. `Nats-Msg-Id` is `<account>.<client>.<id>.<attempt>`."""

    id: str
    attempt: int
    account: str
    user: str
    role: Role
    lane: Lane
    complexity: Complexity
    provider: str
    model: str
    credential: str
    """The name of the credential, never its value."""
    outcome: str
    """`completed`, or what failed: a failure kind of the worker."""
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    """True when the provider did not say its count (a broken stream) and the tokens are our estimate."""
    cost_microusd: int = 0
    saved_by_routing_microusd: int = 0
    """What the dearest model of the chain would have cost more."""
    first_token_ms: float | None = None
    duration_ms: float = 0.0
    at_ms: int = 0
    worker: str = ""
    hold_id: str | None = None
    degraded: tuple[DegradationRule, ...] = ()
    """The rules by which the attempt was given less than was asked for."""
    v: int = 1


class BreakerChanged(Struct, frozen=True, kw_only=True, tag="breaker_changed", tag_field="type"):
    """A worker's circuit breaker for one model changed state."""

    worker: str
    provider: str
    model: str
    before: BreakerState
    after: BreakerState
    at_ms: int
    v: int = 1


class QuotaPaused(Struct, frozen=True, kw_only=True, tag="quota_paused", tag_field="type"):
    """A provider answered 429: no request goes to this model with this credential before `until_ms`."""

    worker: str
    provider: str
    model: str
    credential: str
    until_ms: int
    reason: str = ""
    """The provider's error, as a waiting request reports it."""
    at_ms: int
    v: int = 1


class QuotaWarned(Struct, frozen=True, kw_only=True, tag="quota_warned", tag_field="type"):
    """A limit is nearly used up. Once per crossing, also where several workers share the limit."""

    worker: str
    provider: str
    model: str
    credential: str
    limit: str
    """Its name in the catalogue, as `tokens_per_minute`."""
    used: int
    allowed: int
    full_at_ms: int = 0
    """When it will be full at this pace; 0: not as far as can be told."""
    advice: str = ""
    """When to raise it, in words; empty where too little is known."""
    at_ms: int
    v: int = 1


class QuotaEased(Struct, frozen=True, kw_only=True, tag="quota_eased", tag_field="type"):
    """What `quota_warned` said is over."""

    worker: str
    provider: str
    model: str
    credential: str
    limit: str
    used: int
    allowed: int
    at_ms: int
    v: int = 1


class ModelAvailabilityChanged(
    Struct, frozen=True, kw_only=True, tag="model_availability_changed", tag_field="type"
):
    """A provider stopped or resumed serving a model that a chain names."""

    worker: str
    provider: str
    model: str
    served: bool
    roles: tuple[Role, ...]
    at_ms: int
    v: int = 1


class CredentialRotated(Struct, frozen=True, kw_only=True, tag="credential_rotated", tag_field="type"):
    """A worker took up a new key; calls from now on go out with it."""

    worker: str
    provider: str
    credential: str
    """The name of the credential, never its value."""
    at_ms: int
    v: int = 1


class CredentialAvailabilityChanged(
    Struct, frozen=True, kw_only=True, tag="credential_availability_changed", tag_field="type"
):
    """A provider refused a credential for a model, or the account behind it has no money left, which is told for each
    of its models; or it is accepted again.
    """

    worker: str
    provider: str
    model: str
    credential: str
    """The name of the credential, never its value."""
    usable: bool
    why: str = ""
    """What the provider said, and whether the budget is spent; empty where it is accepted again."""
    at_ms: int
    v: int = 1


class CredentialAged(Struct, frozen=True, kw_only=True, tag="credential_aged", tag_field="type"):
    """A key is older than it should be."""

    worker: str
    provider: str
    credential: str
    """The name of the credential, never its value."""
    age_days: int
    max_age_days: float
    at_ms: int
    v: int = 1


Event = (
    UsageRecorded
    | BreakerChanged
    | QuotaPaused
    | QuotaWarned
    | QuotaEased
    | ModelAvailabilityChanged
    | CredentialRotated
    | CredentialAvailabilityChanged
    | CredentialAged
)
