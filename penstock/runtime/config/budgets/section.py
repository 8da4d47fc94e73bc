"""The section `budgets`: the limits of the whole system, of accounts, of their users and keys, and of tiers.

A catalogue without this section has no budgets, and no ledger is asked. docs/budgets.md explains how the parts are
merged.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from msgspec import Struct, field

from penstock.contract.ledger.policies import LIMIT_NAMES, BudgetLimits, BudgetPolicy, LimitName, Scope
from penstock.runtime.config.bounds import NotNegative, Positive, bounded

__all__ = [
    "TRAFFIC_PARTS",
    "UNLIMITED",
    "AccountBudget",
    "Budgets",
    "ScopeBudget",
    "TierBudget",
    "TrafficBudget",
]

UNLIMITED: Final = 2**53
"""The amount that stands for `unlimited`: it replaces a limit of a less specific policy by none."""
TRAFFIC_PARTS: Final = ("chat", "embed", "background")

_Amount = Annotated[
    int,
    bounded(
        f"is not an amount from 0 to {UNLIMITED}",
        "write a whole number; 0 allows nothing, unlimited removes an inherited limit",
        ge=0,
        le=UNLIMITED,
    ),
]

_OutputTokens = Annotated[
    int,
    bounded(
        "is not a number of tokens from 1 to 1000000",
        "write the longest answer of a request without max_tokens",
        ge=1,
        le=1_000_000,
    ),
]


class TrafficBudget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits, of a scope or of one part of its traffic. None: inherited from a less specific policy, or no limit;
    0: nothing is allowed. `usd_per_day` and `usd_per_month` of the file are read as micro-dollars.
    """

    requests_per_second: _Amount | None = None
    requests_per_minute: _Amount | None = None
    requests_per_hour: _Amount | None = None
    tokens_per_minute: _Amount | None = None
    """Input and output together."""
    tokens_per_day: _Amount | None = None
    tokens_per_request: _Amount | None = None
    """Upper bound of the output tokens that one request may ask for."""
    microusd_per_day: _Amount | None = None
    microusd_per_month: _Amount | None = None
    concurrency: _Amount | None = None
    """Requests that are accepted and have not ended."""

    @property
    def limits(self) -> BudgetLimits:
        return BudgetLimits(**{name: getattr(self, name) for name in LIMIT_NAMES})


class TierBudget(TrafficBudget, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of a tier, and what other scopes have in common with it."""

    chat: TrafficBudget | None = None
    """Further limits for a part of the traffic."""
    embed: TrafficBudget | None = None
    background: TrafficBudget | None = None
    """The batch lane, whatever the kind of the request."""
    soft: tuple[LimitName, ...] = ()
    """Limits that raise alerts and refuse nothing."""

    def policy(self, scope: Scope | Literal["tier"], account: str = "", name: str = "") -> BudgetPolicy:
        """These limits as a policy of version 0, the form in which they are merged with live records."""
        return BudgetPolicy(
            scope=scope,
            account=account,
            name=name,
            limits=self.limits,
            chat=None if self.chat is None else self.chat.limits,
            embed=None if self.embed is None else self.embed.limits,
            background=None if self.background is None else self.background.limits,
            soft=self.soft,
            **self._own_fields(),
        )

    def _own_fields(self) -> dict[str, Any]:
        """The fields of a policy that only a subclass has."""
        return {}


class ScopeBudget(TierBudget, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The budget of the system, of a user, of a key, or of each of them."""

    tier: str = ""
    """Whose limits apply where this one has none."""
    disabled: bool = False
    """Every request is refused."""
    time_zone: str = ""
    """IANA name; for accounts. Empty: the one of the section."""

    def _own_fields(self) -> dict[str, Any]:
        return {"tier": self.tier, "disabled": self.disabled, "time_zone": self.time_zone}


class AccountBudget(ScopeBudget, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The budget of one account, and those of its users and keys."""

    users: dict[str, ScopeBudget] = field(default_factory=dict)
    keys: dict[str, ScopeBudget] = field(default_factory=dict)
    """By the prefix of the key."""
    every_user: ScopeBudget = field(default_factory=ScopeBudget)
    """Of each user of this account that has none of its own."""
    every_key: ScopeBudget = field(default_factory=ScopeBudget)


class Budgets(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules of the budget ledger, and the budgets that apply until `penstock budget set` changes them."""

    when_ledger_unavailable: Literal["refuse", "allow"] = "refuse"
    """`allow`: requests are served without a hold while no ledger answers, and their cost is booked later."""
    ledger_wait_s: Positive = 5.0
    """How long a request waits for an answer of the ledger before `when_ledger_unavailable` decides."""
    hold_wait_s: NotNegative = 2.0
    """How long a request waits while holds of other requests, which may be released, use up a limit."""
    when_price_unknown: Literal["refuse", "count_tokens"] = "refuse"
    """What happens to a request under a limit of money if a model that may answer it has no price."""
    assumed_output_tokens: _OutputTokens = 4_096
    """The output limit, for each choice, where neither a request nor its role has one. It is reserved and sent to the
    provider, so that the answer costs no more than was reserved.
    """
    time_zone: str = "UTC"
    """IANA name of the time zone in which hours, days and months begin."""
    tiers: dict[str, TierBudget] = field(default_factory=dict)
    system: ScopeBudget = field(default_factory=ScopeBudget)
    """All accounts together."""
    every_account: ScopeBudget = field(default_factory=ScopeBudget)
    """Of each account that has none of its own."""
    every_user: ScopeBudget = field(default_factory=ScopeBudget)
    every_key: ScopeBudget = field(default_factory=ScopeBudget)
    accounts: dict[str, AccountBudget] = field(default_factory=dict)
