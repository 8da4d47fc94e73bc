"""Policies as limits to check: amounts in base units, computed once per policy."""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec import Struct

from penstock.contract.ledger.limits import LimitStatus
from penstock.contract.ledger.policies import (
    LIMIT_NAMES,
    TRAFFIC_CLASSES,
    BudgetLimits,
    BudgetPolicy,
    Scope,
    TrafficClass,
)
from penstock.runtime.config.budgets.section import UNLIMITED
from services.ledger.budget.counters import KINDS, MONEY, OUTPUT_TOKENS, TOKENS, Kind, Values

__all__ = ["PICOUSD", "Check", "CompiledPolicies", "Limit", "PolicyLimits", "microusd", "status_of", "used"]

PICOUSD: Final = 1_000_000
"""Picodollars of a micro-dollar."""
_OF_SIZE: Final = frozenset({TOKENS, MONEY, OUTPUT_TOKENS})
_MOST_POLICIES: Final = 20_000
"""Number of policies after which the compiled ones are forgotten."""


class Limit(Struct, frozen=True):
    """One limit of a policy."""

    kind: Kind
    allowed: int
    """Picodollars, tokens or requests."""
    soft: bool
    traffic: TrafficClass | None


class Check(NamedTuple):
    """A hard limit in the form in which each request reads it."""

    limit: Limit
    of_class: bool
    unit: int
    end: int
    spent: int
    held: int
    allowed: int


class PolicyLimits(Struct, frozen=True):
    """The limits of one policy."""

    policy: BudgetPolicy
    limits: tuple[Limit, ...]
    """Those that a counter decides, of all traffic and of each class."""
    hard: dict[TrafficClass, tuple[Check, ...]]
    """Those of them that may refuse a request of the class."""
    bounded: frozenset[TrafficClass]
    """The classes of which a request may be refused by a limit on tokens or money."""
    output_tokens: tuple[Limit, ...]
    alerting: tuple[Limit, ...]
    """Those that raise alerts: per day and month, of all traffic and of each class."""

    def limits_money_of(self, traffic: TrafficClass) -> bool:
        """Whether a limit on money may refuse a request of the class."""
        return any(
            limit.kind.unit == MONEY and not limit.soft and limit.traffic in (None, traffic)
            for limit in self.limits
        )


class CompiledPolicies:
    """The limits of each policy object seen lately."""

    def __init__(self) -> None:
        self._compiled: dict[int, PolicyLimits] = {}
        """By `id` of the policy, which is kept alive by the value."""

    def of(self, policy: BudgetPolicy) -> PolicyLimits:
        compiled = self._compiled.get(id(policy))
        if compiled is None:
            if len(self._compiled) >= _MOST_POLICIES:
                self._compiled.clear()
            compiled = self._compiled[id(policy)] = _compile(policy)
        return compiled


def _compile(policy: BudgetPolicy) -> PolicyLimits:
    found = [*_limits(policy, policy.limits, None)]
    if policy.scope in ("system", "account"):
        for traffic in TRAFFIC_CLASSES:
            part: BudgetLimits | None = getattr(policy, traffic)
            found += _limits(policy, part, traffic) if part is not None else []
    counted = tuple(limit for limit in found if limit.kind.unit != OUTPUT_TOKENS)
    return PolicyLimits(
        policy=policy,
        limits=counted,
        hard={traffic: _checks(counted, traffic) for traffic in TRAFFIC_CLASSES},
        bounded=frozenset(traffic for traffic in TRAFFIC_CLASSES if _bounds(found, traffic)),
        output_tokens=tuple(limit for limit in found if limit.kind.unit == OUTPUT_TOKENS),
        alerting=tuple(limit for limit in counted if limit.kind.alert_80),
    )


def _bounds(limits: list[Limit], traffic: TrafficClass) -> bool:
    return any(
        limit.kind.unit in _OF_SIZE and not limit.soft and not _is_unlimited(limit)
        for limit in limits
        if limit.traffic in (None, traffic)
    )


def _is_unlimited(limit: Limit) -> bool:
    return limit.allowed >= (UNLIMITED * PICOUSD if limit.kind.unit == MONEY else UNLIMITED)


def _checks(limits: tuple[Limit, ...], traffic: TrafficClass) -> tuple[Check, ...]:
    return tuple(
        Check(limit, limit.traffic is not None, kind.unit, kind.end, kind.spent, kind.held, limit.allowed)
        for limit in limits
        if not limit.soft and limit.traffic in (None, traffic)
        for kind in (limit.kind,)
    )


def _limits(policy: BudgetPolicy, limits: BudgetLimits, traffic: TrafficClass | None) -> list[Limit]:
    found = []
    for name in LIMIT_NAMES:
        allowed: int | None = getattr(limits, name)
        if allowed is not None:
            kind = KINDS[name]
            base = allowed * PICOUSD if kind.unit == MONEY else allowed
            found.append(Limit(kind, base, name in policy.soft, traffic))
    return found


def used(values: Values | None, kind: Kind, now_s: int) -> tuple[int, int]:
    """What is spent and held in the current period of a limit."""
    if values is None or (kind.end >= 0 and now_s >= values[kind.end]):
        return 0, 0
    return values[kind.spent], values[kind.held]


def status_of(scope: Scope, limit: Limit, use: tuple[int, int], resets_at_ms: int) -> LimitStatus:
    """The limit in whole requests, tokens and micro-dollars, as people and headers see it."""
    allowed, (spent, held) = limit.allowed, use
    if limit.kind.unit == MONEY:
        allowed, spent, held = microusd(allowed), microusd(spent), microusd(held)
    return LimitStatus(
        scope=scope,
        limit=limit.kind.name,
        traffic=limit.traffic,
        allowed=allowed,
        spent=spent,
        held=held,
        left=max(0, allowed - spent - held),
        resets_at_ms=resets_at_ms,
        soft=limit.soft,
    )


def microusd(picousd: int) -> int:
    """The nearest whole micro-dollars."""
    return (picousd + PICOUSD // 2) // PICOUSD
