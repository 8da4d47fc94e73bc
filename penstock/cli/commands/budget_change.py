"""`penstock budget set`, `disable`, `enable` and `unset`: audited changes of one budget."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from nats.aio.client import Client as Nats

from penstock.cli.budget.edit import BudgetChange, changed_policy
from penstock.cli.budget.known_budgets import KnownBudgets, read_budgets
from penstock.cli.commands.audited_change import author, changing
from penstock.cli.connection import command_settings
from penstock.cli.errors import CommandError
from penstock.cli.known_catalogue import known_catalogue
from penstock.cli.render.terminal_safe import visible
from penstock.contract.events import BudgetPolicyChanged
from penstock.contract.ledger.policies import EVERY, BudgetPolicy, Scope
from penstock.runtime.api_keys.bucket import read_keys
from penstock.runtime.budgets.changes import change_policy
from penstock.runtime.budgets.describe import in_force_text, limit_text, policy_text, scope_text
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.problems import nearest
from penstock.runtime.config.settings import Settings

__all__ = [
    "BudgetTarget",
    "account_of_key",
    "disable_budget",
    "enable_budget",
    "set_budget",
    "unset_budget",
    "warn_without_budgets",
]

_NAME: Final = "penstock-budget"
_SHOWN_USERS: Final = 10
_NO_LEDGER: Final = (
    "Warning: the catalogue {} has no section budgets, so no ledger is asked: the change is stored and has no effect "
    "until it has one (docs/budgets.md)."
)


class BudgetTarget(Struct, frozen=True, kw_only=True):
    """Whose budget a command is about, as the options name it."""

    account: str | None = None
    """None: the account of the settings, or of the key."""
    user: str | None = None
    key: str | None = None
    every: Scope | None = None
    tier: str | None = None
    system: bool = False


def set_budget(target: BudgetTarget, change: BudgetChange, by: str | None, data: Path) -> int:
    """Raises BrokerUnreachable, ConfigurationRefused and CommandError; then nothing was changed."""

    def changed(before: BudgetPolicy, known: KnownBudgets) -> BudgetPolicy:
        if change.tier:
            _check_tier(change.tier, known)
        after = changed_policy(before, change, known.in_force(before))
        _check_hard(known.with_record(before, after).in_force(before), change)
        return after

    return _apply(target, by, data, changed)


def disable_budget(target: BudgetTarget, note: str | None, by: str | None, data: Path) -> int:
    """Raises as `set_budget`."""
    return _apply(target, by, data, lambda before, _: replace(before, disabled=True, note=note or ""))


def enable_budget(target: BudgetTarget, note: str | None, by: str | None, data: Path) -> int:
    """Raises as `set_budget`, and CommandError where it was not disabled by a command."""

    def enabled(before: BudgetPolicy, _: KnownBudgets) -> BudgetPolicy:
        if not before.disabled:
            raise CommandError(
                f"{scope_text(before)} is not disabled by `penstock budget disable`; `penstock budget show` tells "
                "whether the catalogue or another budget disables it"
            )
        return replace(before, disabled=False, note=note or "")

    return _apply(target, by, data, enabled)


def unset_budget(target: BudgetTarget, by: str | None, data: Path) -> int:
    """Raises as `set_budget`, and CommandError for a tier that would not exist any more and is in use."""

    def removed(before: BudgetPolicy, known: KnownBudgets) -> None:
        if before.scope == "tier":
            _check_unused(before, known)

    return _apply(target, by, data, removed)


def _apply(
    target: BudgetTarget,
    by: str | None,
    data: Path,
    change: Callable[[BudgetPolicy, KnownBudgets], BudgetPolicy | None],
) -> int:
    """Store the changed policy, and print what was in force before and is now."""
    catalogue = known_catalogue(data)

    async def run() -> tuple[BudgetPolicy, BudgetPolicyChanged | None, KnownBudgets]:
        settings = command_settings(data)
        async with changing(settings, _NAME) as nc:
            named = await _named(nc, target, settings)
            known = await read_budgets(nc, catalogue)
            changed = await change_policy(
                nc.jetstream(), named, lambda before: change(before or named, known), author(by)
            )
            return named, changed, known

    named, changed, known = asyncio.run(run())
    if changed is None:
        print(f"Nothing to change: the budget of {visible(scope_text(named))} is as it was.")
        return 0
    print(visible(_change_text(changed, known, named)))
    warn_without_budgets(catalogue)
    return 0


def _change_text(changed: BudgetPolicyChanged, known: KnownBudgets, named: BudgetPolicy) -> str:
    """What was in force and is now; the record alone where this machine does not have the catalogue."""
    head, tail = f"Budget of {scope_text(named)}", f"by {changed.changed_by}"
    if known.catalogue is None:
        before, after = policy_text(changed.before), policy_text(changed.after)
        return f"{head}, without what it inherits: {before} -> {after}, {tail}."
    before, after = (
        in_force_text(known.with_record(named, record).in_force(named))
        for record in (changed.before, changed.after)
    )
    if before == after:
        return f"{head}: {after}, as before, {tail}."
    return f"{head}: {before} -> {after}, {tail}."


def warn_without_budgets(catalogue: Catalogue | None) -> None:
    """Say that a change has no effect where the catalogue has no budgets."""
    if catalogue is not None and catalogue.budgets is None:
        print(_NO_LEDGER.format(catalogue.name), file=sys.stderr)


async def _named(nc: Nats, target: BudgetTarget, settings: Settings) -> BudgetPolicy:
    """A policy without limits that has the scope and the names of the target."""
    if target.system:
        return BudgetPolicy(scope="system")
    if target.tier is not None:
        return BudgetPolicy(scope="tier", name=target.tier)
    if target.every is not None:
        is_account = target.every == "account"
        return BudgetPolicy(
            scope=target.every, account=target.account or EVERY, name="" if is_account else EVERY
        )
    if target.user is not None:
        return BudgetPolicy(scope="user", account=target.account or settings.account, name=target.user)
    if target.key is not None:
        account = await account_of_key(nc, target.key, target.account)
        return BudgetPolicy(scope="key", account=account, name=target.key)
    return BudgetPolicy(scope="account", account=target.account or settings.account)


async def account_of_key(nc: Nats, prefix: str, expected: str | None) -> str:
    """The account to which a key belongs. Raises CommandError for an unknown key, and where another is `expected`."""
    for key in await read_keys(nc):
        if key.prefix == prefix and expected in (None, key.account):
            return key.account
        if key.prefix == prefix:
            raise CommandError(
                f"the key {prefix} belongs to the account {key.account}, not to {expected}; omit --account"
            )
    raise CommandError(f"there is no key with the prefix {prefix}: `penstock keys list` lists all keys")


def _check_tier(tier: str, known: KnownBudgets) -> None:
    """Raises CommandError for a tier that neither a command nor the catalogue defines."""
    tiers = known.table().tiers()
    if tier in tiers:
        return
    if known.catalogue is None:
        print(f"Warning: this machine has no catalogue that defines the tier {tier}.", file=sys.stderr)
        return
    define = f"`penstock budget set --tier-definition {tier} ...` defines it"
    raise CommandError(f"there is no tier {tier}: {nearest(tier, tiers)}; {define}")


def _check_hard(in_force: BudgetPolicy, change: BudgetChange) -> None:
    """Raises CommandError for a limit that a less specific budget makes soft, and that has no amount here."""
    for name in change.hard:
        if name in in_force.soft:
            option = f"--{limit_text(name).replace('_', '-')}"
            raise CommandError(
                f"{limit_text(name)} is inherited as a soft limit: give its amount too, with {option}"
            )


def _check_unused(tier: BudgetPolicy, known: KnownBudgets) -> None:
    """Raises CommandError where a policy would name a tier that does not exist any more."""
    table = known.with_record(tier, None).table()
    users = [scope_text(policy) for policy in table.with_tier() if policy.tier == tier.name]
    if not users or tier.name in table.tiers():
        return
    listed = ", ".join(users[:_SHOWN_USERS]) + (", ..." if len(users) > _SHOWN_USERS else "")
    whole = (
        ""
        if known.catalogue is not None
        else " (this machine does not have the catalogue, which may define it)"
    )
    raise CommandError(
        f"the tier {tier.name} is in use{whole}: without it these budgets lose its limits: {listed}. Give them another "
        "tier first, with `penstock budget set ... --tier`"
    )
