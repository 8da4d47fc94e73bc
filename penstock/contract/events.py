"""Facts for accounting and audit, stored for 30 days: usage in `LLM_EVENTS`, the others in `LLM_AUDIT`."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from penstock.contract.guard.policies import Action, DetectorName, Direction, GuardPolicy
from penstock.contract.ledger.policies import BudgetPolicy, LimitName, PriceOverride, Scope, TrafficClass
from penstock.contract.names import Complexity, DegradationRule, Kind, Lane, Role

__all__ = [
    "BreakerChanged",
    "BudgetAlerted",
    "BudgetPolicyChanged",
    "CredentialAged",
    "CredentialAvailabilityChanged",
    "CredentialRotated",
    "Event",
    "GuardDecided",
    "GuardPolicyChanged",
    "HoldReleased",
    "ModelAvailabilityChanged",
    "PriceChanged",
    "QuotaEased",
    "QuotaPaused",
    "QuotaWarned",
    "UsageRecorded",
]

BreakerState = Literal["closed", "open", "half_open"]


class UsageRecorded(Struct, frozen=True, kw_only=True, tag="usage_recorded", tag_field="type"):
    """The usage of one provider attempt, successful or not. `Nats-Msg-Id` is `<account>.<client>.<id>.<attempt>`."""

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
    """`completed`, or the failure kind of the worker; `blocked` or `guard_unavailable` where the guard ended it."""
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    """True when the provider sent no count (a broken stream) and the tokens are an estimate."""
    cost_microusd: int = 0
    saved_by_routing_microusd: int = 0
    """The additional cost if the most expensive model of the chain had answered."""
    first_token_ms: float | None = None
    duration_ms: float = 0.0
    at_ms: int = 0
    worker: str = ""
    hold_id: str | None = None
    client: str = ""
    key: str = ""
    """The prefix of the API key with which the edge received the request."""
    cost_picousd: int = 0
    """The exact cost: a picodollar is a millionth of a micro-dollar."""
    saved_by_cache_picousd: int = 0
    """The additional cost without the provider's prompt cache; negative if writing to it cost more than it saved."""
    priced: bool = True
    """False: the model has no price, and the cost is not known."""
    ends: bool = False
    """The attempt is the last of its request: the rest of the hold is released."""
    degraded: tuple[DegradationRule, ...] = ()
    """The degradation rules that reduced the request in this attempt."""
    kind: Kind = "chat"
    """That of the request."""
    v: int = 1


class HoldReleased(Struct, frozen=True, kw_only=True, tag="hold_released", tag_field="type"):
    """A request ended without an attempt whose usage says so: the rest of its hold is released. On the subject of
    usage, after all usage of the request. `Nats-Msg-Id` is `<hold id>.released.<at_ms>`.
    """

    hold_id: str
    account: str
    why: str
    """The error code with which the request ended."""
    at_ms: int = 0
    v: int = 1


class BudgetAlerted(Struct, frozen=True, kw_only=True, tag="budget_alerted", tag_field="type"):
    """A budget reached a share of its limit; published once per period, limit and share."""

    scope: Scope
    account: str = ""
    name: str = ""
    """The user or the prefix of the key."""
    limit: LimitName
    percent: int
    """80, or 100 when the limit is used up."""
    spent: int
    """Tokens or micro-dollars, as the name of the limit says."""
    allowed: int
    period_start_ms: int
    resets_at_ms: int
    at_ms: int
    traffic: TrafficClass | None = None
    """Of a limit for one class of traffic; None: for all traffic."""
    v: int = 1


class BudgetPolicyChanged(Struct, frozen=True, kw_only=True, tag="budget_policy_changed", tag_field="type"):
    """Who changed a budget policy, and how."""

    before: BudgetPolicy | None = None
    """None: there was none of its own."""
    after: BudgetPolicy | None = None
    """None: the policy was removed, and that of the configuration applies again."""
    changed_by: str
    at_ms: int
    v: int = 1


class PriceChanged(Struct, frozen=True, kw_only=True, tag="price_changed", tag_field="type"):
    """Who changed the price of a model, and how."""

    before: PriceOverride | None = None
    after: PriceOverride | None = None
    """None: the price of the catalogue applies again."""
    changed_by: str
    at_ms: int
    v: int = 1


class _WorkerEvent(Struct, frozen=True, kw_only=True, tag_field="type"):
    worker: str
    provider: str
    at_ms: int
    v: int = 1


class BreakerChanged(_WorkerEvent, frozen=True, kw_only=True, tag="breaker_changed"):
    """A worker's circuit breaker for one model changed state."""

    model: str
    before: BreakerState
    after: BreakerState


class QuotaPaused(_WorkerEvent, frozen=True, kw_only=True, tag="quota_paused"):
    """A provider answered 429: no request goes to this model with this credential before `until_ms`."""

    model: str
    credential: str
    until_ms: int
    reason: str = ""
    """The provider's error, as a waiting request reports it."""


class QuotaWarned(_WorkerEvent, frozen=True, kw_only=True, tag="quota_warned"):
    """A limit is nearly used up. Published once per crossing, also when several workers share the limit."""

    model: str
    credential: str
    limit: str
    """The name of the limit in the catalogue, for example `tokens_per_minute`."""
    used: int
    allowed: int
    full_at_ms: int = 0
    """Forecast time at which the limit is used up, Unix milliseconds; 0: no forecast."""
    advice: str = ""
    """When to raise the limit, as text; empty when too little is known."""


class QuotaEased(_WorkerEvent, frozen=True, kw_only=True, tag="quota_eased"):
    """The state reported by `quota_warned` is over."""

    model: str
    credential: str
    limit: str
    used: int
    allowed: int


class ModelAvailabilityChanged(_WorkerEvent, frozen=True, kw_only=True, tag="model_availability_changed"):
    """A provider stopped or resumed serving a model that a chain names."""

    model: str
    served: bool
    roles: tuple[Role, ...]


class CredentialRotated(_WorkerEvent, frozen=True, kw_only=True, tag="credential_rotated"):
    """A worker loaded a new key and uses it for all further calls."""

    credential: str
    """The name of the credential, never its value."""


class CredentialAvailabilityChanged(
    _WorkerEvent, frozen=True, kw_only=True, tag="credential_availability_changed"
):
    """A provider rejected a credential for a model, or accepts it again. An exhausted budget is reported for each model
    of the credential.
    """

    model: str
    credential: str
    """The name of the credential, never its value."""
    usable: bool
    why: str = ""
    """The message of the provider, and whether the budget is exhausted; empty when the credential is accepted again."""


class CredentialAged(_WorkerEvent, frozen=True, kw_only=True, tag="credential_aged"):
    """A key is older than its maximum age."""

    credential: str
    """The name of the credential, never its value."""
    age_days: int
    max_age_days: float


class GuardDecided(Struct, frozen=True, kw_only=True, tag="guard_decided", tag_field="type"):
    """The guard found something in a request or an answer, or could not check it. Never with content. `Nats-Msg-Id` is
    chosen by the guard, so that a repeated check of one request may be stored twice.
    """

    id: str
    """The id of the request."""
    account: str
    user: str = ""
    direction: Direction
    action: Action
    """The strongest action of all findings."""
    findings: dict[str, int]
    """How many of each category and kind, as `personal_data/email`."""
    unchecked_by: tuple[DetectorName, ...] = ()
    """Detectors that could not check the content."""
    refused: bool = False
    """One of them fails closed."""
    policy_version: int = 0
    elapsed_ms: float = 0.0
    at_ms: int = 0
    guard: str = ""
    v: int = 1


class GuardPolicyChanged(Struct, frozen=True, kw_only=True, tag="guard_policy_changed", tag_field="type"):
    """A guard policy was set or removed; None: there is no record of its own."""

    before: GuardPolicy | None
    after: GuardPolicy | None
    changed_by: str
    at_ms: int = 0
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
    | HoldReleased
    | BudgetAlerted
    | BudgetPolicyChanged
    | PriceChanged
    | GuardDecided
    | GuardPolicyChanged
)
