"""What `penstock budget set` makes of a stored budget: pure."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from penstock.cli.argument_types import INHERITED
from penstock.contract.ledger.policies import BudgetLimits, BudgetPolicy, LimitName, TrafficClass

__all__ = ["BudgetChange", "changed_policy"]


class BudgetChange(Struct, frozen=True, kw_only=True):
    """What `budget set` shall change; None: nothing."""

    amounts: Mapping[LimitName, int] = field(default_factory=dict)
    """INHERITED removes the limit."""
    traffic: TrafficClass | None = None
    """The part of the traffic to which the amounts apply; None: all of it."""
    tier: str | None = None
    soft: tuple[LimitName, ...] = ()
    hard: tuple[LimitName, ...] = ()
    time_zone: str | None = None
    note: str | None = None


def changed_policy(before: BudgetPolicy, change: BudgetChange, in_force: BudgetPolicy) -> BudgetPolicy:
    """The stored policy `before` with the change; `in_force`: what applies until then.

    A limit that gets another amount stays soft if it was, also where a less specific policy said so. A change without
    a note has none.
    """
    after = replace(before, soft=_soft(before, change, in_force), note=change.note or "")
    if change.tier is not None:
        after = replace(after, tier=change.tier)
    if change.time_zone is not None:
        after = replace(after, time_zone=change.time_zone)
    if not change.amounts:
        return after
    amounts = {name: None if amount == INHERITED else amount for name, amount in change.amounts.items()}
    if change.traffic is None:
        return replace(after, limits=replace(after.limits, **amounts))
    part = replace(getattr(before, change.traffic) or BudgetLimits(), **amounts)
    return replace(after, **{change.traffic: None if part == BudgetLimits() else part})


def _soft(before: BudgetPolicy, change: BudgetChange, in_force: BudgetPolicy) -> tuple[LimitName, ...]:
    given = {name for name, amount in change.amounts.items() if amount != INHERITED}
    soft = set(before.soft) - (change.amounts.keys() - given)  # what inherits again is soft where that is
    soft |= given.intersection(in_force.soft) | set(change.soft)
    return tuple(sorted(soft - set(change.hard)))
