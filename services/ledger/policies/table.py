"""The policy in force of each scope, from the configuration and the live records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from penstock.contract.ledger.policies import EVERY, BudgetPolicy, Scope
from penstock.runtime.budgets.records import BudgetRecords
from penstock.runtime.config.budgets.section import Budgets
from services.ledger.policies.merge import layered, merged

__all__ = ["PolicyTable"]


class _Named(NamedTuple):
    """What a policy is for; EVERY as account or name: each one without a policy of its own."""

    scope: Scope | Literal["tier"]
    account: str = ""
    name: str = ""


class PolicyTable:
    """Merges each policy once and keeps the result until a record changes. Accounts, users and keys without a policy
    of their own share one object, so that what is kept grows with the number of policies, not with that of users.
    """

    def __init__(self, budgets: Budgets) -> None:
        self._budgets = budgets
        self._configured = {_named(policy): policy for policy in _configured(budgets)}
        self._live: dict[_Named, BudgetPolicy] = {}
        self._merged: dict[_Named, BudgetPolicy] = {}
        self._zone = _zone(budgets.time_zone)

    def replace(self, records: BudgetRecords) -> list[tuple[BudgetPolicy | None, BudgetPolicy | None]]:
        """Use these live records from now on. Returns each that changed, before and after; None: there is none."""
        live = {_named(policy): policy for policy in records.policies.values()}
        before, self._live = self._live, live
        self._merged.clear()
        names = dict.fromkeys((*before, *live))
        return [(before.get(name), live.get(name)) for name in names if before.get(name) != live.get(name)]

    @property
    def when_price_unknown(self) -> Literal["refuse", "count_tokens"]:
        return self._budgets.when_price_unknown

    def system(self) -> BudgetPolicy:
        return self._in_force(_Named("system"))

    def account(self, account: str) -> BudgetPolicy:
        named, every = _Named("account", account), _Named("account", EVERY)
        return self._in_force(named, every) if self._exists(named) else self._in_force(every)

    def user(self, account: str, user: str) -> BudgetPolicy:
        return self._of_account("user", account, user)

    def key(self, account: str, key: str) -> BudgetPolicy:
        return self._of_account("key", account, key)

    def time_zone(self, account: str) -> str:
        own = (self.account(account) if account else self.system()).time_zone
        return _zone(own) if own else self._zone

    def of(self, named: BudgetPolicy) -> BudgetPolicy:
        """The policy in force for the scope that `named` names, which may be a tier, or every account, user or key."""
        levels = [self._level(each) for each in self._levels_of(_named(named))]
        start = BudgetPolicy(scope=named.scope, account=named.account, name=named.name)
        return merged(start, levels, self._tier)

    def layers(self, named: BudgetPolicy) -> list[BudgetPolicy]:
        """The policies from which that one is merged, the most specific ones first."""
        levels = [self._level(each) for each in self._levels_of(_named(named))]
        return layered(levels, self._tier)[1]

    def tiers(self) -> list[str]:
        """The tiers that a record or the configuration defines."""
        return sorted({each.name for each in (*self._live, *self._configured) if each.scope == "tier"})

    def with_tier(self) -> list[BudgetPolicy]:
        """The live records and the entries of the configuration that name a tier."""
        policies = (*self._live.values(), *self._configured.values())
        return [policy for policy in policies if policy.tier]

    def _levels_of(self, named: _Named) -> list[_Named]:
        """What is looked up for a scope, the most specific first; only its own level for a tier and the system."""
        scope, account, name = named
        found = [named]
        if scope == "account" and account != EVERY:
            found.append(_Named("account", EVERY))
        if scope in ("user", "key"):
            found += [_Named(scope, account, EVERY)] if name != EVERY else []
            found += [_Named(scope, EVERY, EVERY)] if account != EVERY else []
        return found

    def _tier(self, name: str) -> list[BudgetPolicy]:
        return self._level(_Named("tier", name=name))

    def _of_account(self, scope: Literal["user", "key"], account: str, name: str) -> BudgetPolicy:
        named, of_account, every = (
            _Named(scope, account, name),
            _Named(scope, account, EVERY),
            _Named(scope, EVERY, EVERY),
        )
        if self._exists(named):
            return self._in_force(named, of_account, every)
        if self._exists(of_account):
            return self._in_force(of_account, every)
        return self._in_force(every)

    def _exists(self, named: _Named) -> bool:
        return named in self._live or named in self._configured

    def _in_force(self, named: _Named, *less_specific: _Named) -> BudgetPolicy:
        known = self._merged.get(named)
        if known is None:
            start = BudgetPolicy(scope=named.scope, account=named.account, name=named.name)
            levels = [self._level(each) for each in (named, *less_specific)]
            known = merged(start, levels, self._tier)
            self._merged[named] = known
        return known

    def _level(self, named: _Named) -> list[BudgetPolicy]:
        """The live record, then the entry of the configuration; those that exist."""
        found = (self._live.get(named), self._configured.get(named))
        return [policy for policy in found if policy is not None]


def _named(policy: BudgetPolicy) -> _Named:
    return _Named(policy.scope, policy.account, policy.name)


def _zone(name: str) -> str:
    """Empty stands for UTC."""
    return "" if name == "UTC" else name


def _configured(budgets: Budgets) -> Iterator[BudgetPolicy]:
    yield budgets.system.policy("system")
    yield budgets.every_account.policy("account", EVERY)
    yield budgets.every_user.policy("user", EVERY, EVERY)
    yield budgets.every_key.policy("key", EVERY, EVERY)
    for name, tier in budgets.tiers.items():
        yield tier.policy("tier", name=name)
    for account, budget in budgets.accounts.items():
        yield budget.policy("account", account)
        yield budget.every_user.policy("user", account, EVERY)
        yield budget.every_key.policy("key", account, EVERY)
        for name, user in budget.users.items():
            yield user.policy("user", account, name)
        for name, key in budget.keys.items():
            yield key.policy("key", account, name)
