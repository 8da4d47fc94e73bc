"""Budget policies and price overrides: the records of the bucket `llm_budgets`, which can change while services run."""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from msgspec import Meta, Struct, field

__all__ = [
    "EVERY",
    "LIMIT_NAMES",
    "TRAFFIC_CLASSES",
    "BudgetLimits",
    "BudgetPolicy",
    "LimitName",
    "PriceOverride",
    "Scope",
    "TokenPrices",
    "TrafficClass",
]

Scope = Literal["system", "account", "user", "key"]
"""What a limit applies to: everything, one account, one end user of an account, one API key of the HTTP edge."""
TrafficClass = Literal["chat", "embed", "background"]
"""`background`: the batch lane, whatever the kind of the request."""
TRAFFIC_CLASSES: Final[tuple[TrafficClass, ...]] = get_args(TrafficClass)
LimitName = Literal[
    "requests_per_second",
    "requests_per_minute",
    "requests_per_hour",
    "tokens_per_minute",
    "tokens_per_day",
    "tokens_per_request",
    "microusd_per_day",
    "microusd_per_month",
    "concurrency",
]
LIMIT_NAMES: Final[tuple[LimitName, ...]] = get_args(LimitName)
EVERY: Final = "*"
"""The account or name of a policy that applies to each one without a policy of its own."""

_Amount = Annotated[int, Meta(ge=0, le=2**53)]


class BudgetLimits(Struct, frozen=True, kw_only=True):
    """Limits of one scope. None: no limit of its own; 0: nothing is allowed. Periods are those of the calendar in the
    time zone of the policy, not sliding windows.
    """

    requests_per_second: _Amount | None = None
    requests_per_minute: _Amount | None = None
    requests_per_hour: _Amount | None = None
    tokens_per_minute: _Amount | None = None
    """Input and output together; a request counts with its estimate until its usage is known."""
    tokens_per_day: _Amount | None = None
    tokens_per_request: _Amount | None = None
    """Upper bound of the output tokens that one request may ask for."""
    microusd_per_day: _Amount | None = None
    microusd_per_month: _Amount | None = None
    concurrency: _Amount | None = None
    """Requests that are accepted and have not ended, waiting ones included."""


class BudgetPolicy(Struct, frozen=True, kw_only=True, tag="budget_policy", tag_field="type"):
    """The limits of one scope, and who changed them. A limit that is None here comes from the tier, then from the
    policy of every such scope.
    """

    scope: Scope | Literal["tier"]
    account: str = ""
    """Empty for `system` and `tier`; `*`: every account."""
    name: str = ""
    """The user, the prefix of the key, or the name of the tier; `*`: each user or key of the account."""
    tier: str = ""
    limits: BudgetLimits = field(default_factory=BudgetLimits)
    chat: BudgetLimits | None = None
    """Further limits for a part of the traffic, of `system` and `account`."""
    embed: BudgetLimits | None = None
    background: BudgetLimits | None = None
    soft: tuple[LimitName, ...] = ()
    """Limits that raise alerts and refuse nothing."""
    disabled: bool = False
    """Every request of the scope is refused."""
    time_zone: str = ""
    """IANA name of the time zone in which hours, days and months begin; for `account` and `system`. Empty: the one of
    the configuration."""
    version: int = 0
    """Rises by one with each change; 0: from the configuration file."""
    changed_by: str = ""
    changed_ms: int = 0
    note: str = ""
    v: int = 1


class TokenPrices(Struct, frozen=True, kw_only=True):
    """Prices in micro-dollars per million tokens, which is the same number as picodollars per token."""

    input: _Amount = 0
    output: _Amount = 0
    cached_input: _Amount | None = None
    """None: the price of input."""
    cache_write: _Amount | None = None
    """Input that the provider wrote into its cache; None: the price of input."""
    reasoning: _Amount | None = None
    """None: the price of output."""
    audio_input: _Amount | None = None
    """None: the price of input."""
    audio_output: _Amount | None = None
    """None: the price of output."""


class PriceOverride(Struct, frozen=True, kw_only=True, tag="price_override", tag_field="type"):
    """The prices of a model that replace those of the catalogue."""

    model: str
    """The key of the model in the catalogue."""
    prices: TokenPrices
    as_of: str = ""
    """The date of the price, YYYY-MM-DD."""
    source: str = ""
    version: int = 0
    changed_by: str = ""
    changed_ms: int = 0
    v: int = 1
