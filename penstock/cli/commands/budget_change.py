"""`penstock budget set`, `disable`, `enable` and `unset`: audited changes of one budget."""

from __future__ import annotations

import asyncio
import getpass
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace
from nats.aio.client import Client as Nats

from penstock.bus.bucket import RecordChanged, read_records
from penstock.bus.clock import SYSTEM
from penstock.bus.publish import StreamFull
from penstock.cli.argument_types import INHERITED
from penstock.cli.connection import check_provisioned, command_settings, open_connection
from penstock.cli.errors import CommandError
from penstock.cli.known_catalogue import known_catalogue
from penstock.contract.events import BudgetPolicyChanged
from penstock.contract.ledger.policies import (
    EVERY,
    BudgetLimits,
    BudgetPolicy,
    LimitName,
    Scope,
    TrafficClass,
)
from penstock.contract.streams import BUDGETS
from penstock.runtime.api_keys.bucket import read_keys
from penstock.runtime.budgets.changes import Author, change_policy
from penstock.runtime.budgets.describe import policy_text, scope_text
from penstock.runtime.budgets.records import BudgetRecords, records_of
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.problems import nearest
from penstock.runtime.config.settings import Settings

__all__ = [
    "BudgetChange",
    "BudgetTarget",
    "author",
    "changing",
    "disable_budget",
    "enable_budget",
    "set_budget",
    "unset_budget",
]

_NAME: Final = "penstock-budget"
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


def set_budget(target: BudgetTarget, change: BudgetChange, by: str | None, data: Path) -> int:
    """Raises BrokerUnreachable, ConfigurationRefused and CommandError; then nothing was changed."""
    catalogue = known_catalogue(data)

    async def run() -> BudgetPolicyChanged:
        settings = command_settings(data)
        async with changing(settings) as nc:
            named = await _named(nc, target, settings)
            if change.tier:
                await _check_tier(nc, change.tier, catalogue)
            return await change_policy(
                nc.jetstream(), named, lambda before: _changed_policy(before or named, change), author(by)
            )

    return _report(asyncio.run(run()), catalogue)


def disable_budget(target: BudgetTarget, note: str | None, by: str | None, data: Path) -> int:
    """Raises as `set_budget`."""
    change = _noted(note)
    return _apply(target, by, data, lambda before: replace(_changed_policy(before, change), disabled=True))


def enable_budget(target: BudgetTarget, note: str | None, by: str | None, data: Path) -> int:
    """Raises as `set_budget`, and CommandError where it was not disabled by a command."""
    change = _noted(note)

    def enabled(before: BudgetPolicy) -> BudgetPolicy:
        if not before.disabled:
            raise CommandError(
                f"{scope_text(before)} is not disabled by `penstock budget disable`; `penstock budget show` tells "
                "whether the catalogue or another budget disables it"
            )
        return replace(_changed_policy(before, change), disabled=False)

    return _apply(target, by, data, enabled)


def unset_budget(target: BudgetTarget, by: str | None, data: Path) -> int:
    """Raises as `set_budget`."""
    return _apply(target, by, data, lambda _: None)


def _changed_policy(before: BudgetPolicy, change: BudgetChange) -> BudgetPolicy:
    """`before` with the change."""
    soft = (set(before.soft) | set(change.soft)) - set(change.hard)
    after = replace(before, soft=tuple(sorted(soft)))
    if change.tier is not None:
        after = replace(after, tier=change.tier)
    if change.time_zone is not None:
        after = replace(after, time_zone=change.time_zone)
    if change.note is not None:
        after = replace(after, note=change.note)
    if not change.amounts:
        return after
    amounts = {name: None if amount == INHERITED else amount for name, amount in change.amounts.items()}
    if change.traffic is None:
        return replace(after, limits=replace(after.limits, **amounts))
    part = replace(getattr(before, change.traffic) or BudgetLimits(), **amounts)
    return replace(after, **{change.traffic: None if part == BudgetLimits() else part})


def author(by: str | None) -> Author:
    """Who makes a change: as named, else the login name."""
    if by:
        return Author(by, SYSTEM.unix_ms())
    try:
        return Author(getpass.getuser(), SYSTEM.unix_ms())
    except (OSError, KeyError) as error:  # a user id without a name, in a container
        raise CommandError("this user has no login name: say who makes the change with --by") from error


@asynccontextmanager
async def changing(settings: Settings) -> AsyncIterator[Nats]:
    """A connection for a change. Raises CommandError where it is rejected."""
    async with open_connection(settings, _NAME) as nc:
        await check_provisioned(nc, settings)
        try:
            yield nc
        except RecordChanged as changed:
            raise CommandError(
                "another command changed it at the same moment, and nothing was stored: repeat this one"
            ) from changed
        except StreamFull as full:
            raise CommandError(
                f"the change is in force, but its event could not be stored for the history: {full}"
            ) from full


def _apply(
    target: BudgetTarget, by: str | None, data: Path, change: Callable[[BudgetPolicy], BudgetPolicy | None]
) -> int:
    async def run() -> BudgetPolicyChanged:
        settings = command_settings(data)
        async with changing(settings) as nc:
            named = await _named(nc, target, settings)
            return await change_policy(
                nc.jetstream(), named, lambda before: change(before or named), author(by)
            )

    return _report(asyncio.run(run()), known_catalogue(data))


def _noted(note: str | None) -> BudgetChange:
    return BudgetChange(note=note)


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
        account = target.account or await _account_of(nc, target.key)
        return BudgetPolicy(scope="key", account=account, name=target.key)
    return BudgetPolicy(scope="account", account=target.account or settings.account)


async def _account_of(nc: Nats, prefix: str) -> str:
    for key in await read_keys(nc):
        if key.prefix == prefix:
            return key.account
    raise CommandError(f"there is no key with the prefix {prefix}: `penstock keys list` lists all keys")


async def _check_tier(nc: Nats, tier: str, catalogue: Catalogue | None) -> None:
    """Raises CommandError for a tier that neither a command nor the catalogue defines."""
    live = records_of(await read_records(nc, BUDGETS), BudgetRecords()).policies.values()
    known = {policy.name for policy in live if policy.scope == "tier"}
    if catalogue is None:
        if tier not in known:
            print(f"Warning: this machine has no catalogue that defines the tier {tier}.", file=sys.stderr)
        return
    known |= set(() if catalogue.budgets is None else catalogue.budgets.tiers)
    if tier not in known:
        define = f"`penstock budget set --tier-definition {tier} ...` defines it"
        raise CommandError(f"there is no tier {tier}: {nearest(tier, sorted(known))}; {define}")


def _report(changed: BudgetPolicyChanged, catalogue: Catalogue | None) -> int:
    named = changed.after or changed.before
    if named is None:
        print("There is no changed budget: what the catalogue says applies.")
        return 0
    before, after = policy_text(changed.before), policy_text(changed.after)
    print(f"Budget of {scope_text(named)}: {before} -> {after}, by {changed.changed_by}.")
    if catalogue is not None and catalogue.budgets is None:
        print(_NO_LEDGER.format(catalogue.name), file=sys.stderr)
    return 0
