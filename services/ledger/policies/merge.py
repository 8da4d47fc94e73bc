"""Merges budget policies: per limit, the most specific policy that has it decides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from msgspec.structs import replace

from penstock.contract.ledger.policies import LIMIT_NAMES, TRAFFIC_CLASSES, BudgetLimits, BudgetPolicy
from penstock.runtime.config.budgets.section import UNLIMITED

__all__ = ["layered", "merged"]

_NO_LIMITS: Final = BudgetLimits()


def merged(
    named: BudgetPolicy,
    levels: Sequence[Sequence[BudgetPolicy]],
    policies_of_tier: Callable[[str], Sequence[BudgetPolicy]],
) -> BudgetPolicy:
    """The policy in force for the scope that `named` names.

    `levels`: the policies of the scope itself, then those of every such scope, each a live record before the entry of
    the configuration. The first level that names a tier is followed by the policies of this tier.
    """
    tier, layers = layered(levels, policies_of_tier)
    latest = next((policy for policy in levels[0] if policy.version), named)
    return replace(
        named,
        tier=tier,
        limits=_limits([layer.limits for layer in layers]),
        chat=_part("chat", layers),
        embed=_part("embed", layers),
        background=_part("background", layers),
        soft=tuple(name for name in LIMIT_NAMES if _is_soft(name, layers)),
        disabled=any(layer.disabled for layer in layers),
        time_zone=_first(layer.time_zone for layer in layers),
        version=latest.version,
        changed_by=latest.changed_by,
        changed_ms=latest.changed_ms,
        note=latest.note,
    )


def layered(
    levels: Sequence[Sequence[BudgetPolicy]], policies_of_tier: Callable[[str], Sequence[BudgetPolicy]]
) -> tuple[str, list[BudgetPolicy]]:
    """The tier, and all policies that apply, the most specific ones first."""
    tier, layers = "", list[BudgetPolicy]()
    for level in levels:
        layers += level
        if not tier:
            tier = _first(policy.tier for policy in level)
            layers += policies_of_tier(tier) if tier else ()
    return tier, layers


def _first(texts: Iterable[str]) -> str:
    return next(filter(None, texts), "")


def _limits(layers: Sequence[BudgetLimits]) -> BudgetLimits:
    return BudgetLimits(**{name: _amount(name, layers) for name in LIMIT_NAMES})


def _amount(name: str, layers: Sequence[BudgetLimits]) -> int | None:
    found = next((amount for layer in layers if (amount := getattr(layer, name)) is not None), None)
    return None if found == UNLIMITED else found


def _part(traffic: str, layers: Sequence[BudgetPolicy]) -> BudgetLimits | None:
    limits = _limits([part for layer in layers if (part := getattr(layer, traffic)) is not None])
    return None if limits == _NO_LIMITS else limits


def _is_soft(name: str, layers: Sequence[BudgetPolicy]) -> bool:
    """Whether the policy that decides the limit, or a more specific one, says that it is soft."""
    for layer in layers:
        if name in layer.soft:
            return True
        parts = (layer.limits, *(getattr(layer, traffic) for traffic in TRAFFIC_CLASSES))
        if any(part is not None and getattr(part, name) is not None for part in parts):
            return False
    return False
