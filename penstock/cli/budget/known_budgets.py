"""The budgets in force, as far as this machine has the catalogue: for commands that show or change one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from nats.aio.client import Client as Nats

from penstock.bus.bucket import read_records
from penstock.contract.ledger.policies import (
    EVERY,
    LIMIT_NAMES,
    TRAFFIC_CLASSES,
    BudgetPolicy,
    LimitName,
    TrafficClass,
)
from penstock.contract.streams import BUDGETS
from penstock.runtime.budgets.describe import scope_text
from penstock.runtime.budgets.records import BudgetRecords, policy_key, records_of
from penstock.runtime.config.budgets.section import UNLIMITED, Budgets
from penstock.runtime.config.catalogue import Catalogue
from services.ledger.policies.table import PolicyTable

__all__ = ["KnownBudgets", "LimitSources", "read_budgets"]

LimitSources = Mapping[tuple[TrafficClass | None, LimitName], str]
"""Where each limit in force comes from; the class of traffic is None for a limit of all traffic."""
_LEVELS: Final = (None, *TRAFFIC_CLASSES)
_LIMITS: Final = [(traffic, name) for traffic in _LEVELS for name in LIMIT_NAMES]


class KnownBudgets(Struct, frozen=True):
    """The records of the bucket merged with the catalogue."""

    records: BudgetRecords
    catalogue: Catalogue | None
    """None: this machine has none, and only the records are known."""

    def table(self) -> PolicyTable:
        budgets = None if self.catalogue is None else self.catalogue.budgets
        table = PolicyTable(budgets or Budgets())
        table.replace(self.records)
        return table

    def with_record(self, named: BudgetPolicy, record: BudgetPolicy | None) -> KnownBudgets:
        """The same after a change of the record of `named`."""
        key = policy_key(named)
        others = {other: policy for other, policy in self.records.policies.items() if other != key}
        policies = others if record is None else {**others, key: record}
        return KnownBudgets(BudgetRecords(policies, self.records.prices), self.catalogue)

    def in_force(self, named: BudgetPolicy) -> BudgetPolicy:
        return self.table().of(named)

    def lacks_tier(self, tier: str) -> bool:
        """Whether the tier surely does not exist."""
        return bool(tier) and self.catalogue is not None and tier not in self.table().tiers()

    def sources(self, named: BudgetPolicy) -> LimitSources:
        """For each limit in force of the scope that `named` names, the most specific policy that has it."""
        found: dict[tuple[TrafficClass | None, LimitName], str] = {}
        for layer in self.table().layers(named):
            for traffic, name in _LIMITS:
                limits = layer.limits if traffic is None else getattr(layer, traffic)
                amount = None if limits is None else getattr(limits, name)
                if amount is not None:
                    found.setdefault((traffic, name), "" if amount == UNLIMITED else _source(layer, named))
        return {key: found[key] for key in _LIMITS if key in found}


async def read_budgets(nc: Nats, catalogue: Catalogue | None) -> KnownBudgets:
    """Raises nats errors and TimeoutError."""
    return KnownBudgets(records_of(await read_records(nc, BUDGETS), BudgetRecords()), catalogue)


def _source(layer: BudgetPolicy, named: BudgetPolicy) -> str:
    """`own` for a record of exactly this scope, `catalogue` for its entry there, else what the policy is for."""
    if (layer.scope, layer.account, layer.name) != (named.scope, named.account, named.name):
        return scope_text(layer)
    is_one = named.scope != "tier" and EVERY not in (named.account, named.name)
    if not layer.version:
        return "catalogue"
    return "own" if is_one else "set"
