"""What the budget state needs to know of the policies."""

from __future__ import annotations

from typing import Literal, Protocol

from penstock.contract.ledger.policies import BudgetPolicy

__all__ = ["Policies"]


class Policies(Protocol):
    """The effective policy of each scope: per limit its own record, else its tier, else the policy of every such
    scope. The same object is returned until it changes, because lookups are part of every hold.
    """

    @property
    def when_price_unknown(self) -> Literal["refuse", "count_tokens"]:
        """Whether a money limit refuses a request that a model without a price may answer."""
        ...

    def system(self) -> BudgetPolicy: ...
    def account(self, account: str) -> BudgetPolicy: ...
    def user(self, account: str, user: str) -> BudgetPolicy: ...
    def key(self, account: str, key: str) -> BudgetPolicy: ...

    def time_zone(self, account: str) -> str:
        """The IANA name of the zone in which periods begin; empty: UTC. The account "" is the whole system."""
        ...
