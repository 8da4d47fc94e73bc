"""`penstock budget show`, `list`, `history` and `alerts`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import nats.errors
from msgspec import Struct
from nats.aio.client import Client as Nats

from penstock.bus.clock import SYSTEM
from penstock.bus.direct_get import read_all
from penstock.cli.budget.known_budgets import KnownBudgets, LimitSources, read_budgets
from penstock.cli.commands.budget_change import account_of_key
from penstock.cli.connection import check_answer, check_provisioned, command_settings, open_connection
from penstock.cli.errors import CommandError
from penstock.cli.known_catalogue import known_catalogue
from penstock.cli.render.budget import (
    alerts_text,
    history_text,
    policies_text,
    report_text,
    scope_policy_text,
    without_absent_limits,
)
from penstock.cli.render.terminal_safe import as_ascii_json
from penstock.cli.spend_period import moment_s
from penstock.contract import codec, subjects
from penstock.contract.events import BudgetAlerted, BudgetPolicyChanged, PriceChanged
from penstock.contract.ledger.policies import EVERY, BudgetPolicy, Scope
from penstock.contract.ledger.status import BudgetQuery, BudgetReport
from penstock.contract.streams import AUDIT
from penstock.runtime.budgets.changes import POLICY_EVENTS, PRICE_EVENTS
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.problems import nearest
from penstock.runtime.config.settings import Settings

__all__ = ["Shown", "list_budgets", "show_alerts", "show_budget", "show_history"]

_ALERTS: Final = subjects.EVENT.format(kind="budget", scope="*")
_NAME: Final = "penstock-budget"
_TIMEOUT_S: Final = 5.0


class Shown(Struct, frozen=True, kw_only=True):
    """Whose budgets `budget show` and `history` show: those of an account, and of one of its users and keys, of the
    system, or of every account, user or key, or a tier.
    """

    account: str | None = None
    user: str | None = None
    key: str | None = None
    system: bool = False
    every: Scope | None = None
    tier: str | None = None

    def queries(self, account: str) -> list[BudgetQuery]:
        if self.system:
            return [BudgetQuery(scope="system")]
        found = [BudgetQuery(scope="account", account=account)]
        if self.user is not None:
            found.append(BudgetQuery(scope="user", account=account, name=self.user))
        if self.key is not None:
            found.append(BudgetQuery(scope="key", account=account, name=self.key))
        return found

    def matches(self, change: BudgetPolicyChanged | PriceChanged) -> bool:
        """Whether the history of these has the change; with nothing named, that of everything."""
        if self == Shown():
            return True
        policy = change.after or change.before
        if not isinstance(policy, BudgetPolicy):
            return False
        scopes: dict[str, str | None] = {"user": self.user, "key": self.key}
        named = [scope for scope, name in scopes.items() if name is not None]
        return (
            self.account in (None, policy.account)
            and (not self.system or policy.scope == "system")
            and (not named or (policy.scope in named and policy.name == scopes[policy.scope]))
        )


def show_budget(shown: Shown, data: Path, *, as_json: bool) -> int:
    """Raises BrokerUnreachable, ConfigurationRefused and CommandError."""
    catalogue = known_catalogue(data)
    settings = command_settings(data)
    if shown.every is not None or shown.tier is not None:
        return _show_policy(asyncio.run(_known(settings, catalogue)), shown, as_json=as_json)
    reports, known = asyncio.run(_ask(shown, settings, catalogue))
    if as_json:
        _print_json([_report_fields(report, known) for report in reports])
    else:
        print("\n\n".join(_report_text(report, known) for report in reports))
    return 0


def list_budgets(data: Path, *, as_json: bool) -> int:
    """Raises as `show_budget`."""
    known = asyncio.run(_known(command_settings(data), None)).records.policies.values()
    policies = sorted(known, key=lambda policy: (policy.scope, policy.account, policy.name))
    if as_json:
        _print_json(policies)
    else:
        print(policies_text(policies))
    return 0


def show_history(shown: Shown, data: Path, *, as_json: bool) -> int:
    """Raises as `show_budget`."""
    changes = asyncio.run(_changes(command_settings(data)))
    chosen = [change for change in changes if shown.matches(change)]
    if as_json:
        _print_json(chosen)
    else:
        print(history_text(chosen))
    return 0


def show_alerts(since: str | None, data: Path, *, as_json: bool) -> int:
    """The alerts of the last 30 days, or since then, the newest first. Raises as `show_budget`."""
    since_ms = 0 if since is None else moment_s(since, int(SYSTEM.unix_s())) * 1000
    found = asyncio.run(_alerts(command_settings(data)))
    chosen = sorted((each for each in found if each.at_ms >= since_ms), key=lambda each: -each.at_ms)
    if as_json:
        _print_json(chosen)
    else:
        print(alerts_text(chosen))
    return 0


def _print_json(value: object) -> None:
    """Indented for a person; without the limits that a policy does not have."""
    print(as_ascii_json(without_absent_limits(msgspec.to_builtins(value)), indented=sys.stdout.isatty()))


def _show_policy(known: KnownBudgets, shown: Shown, *, as_json: bool) -> int:
    """What each account, user or key has that has nothing of its own, or what a tier gives."""
    if shown.tier is not None:
        named = BudgetPolicy(scope="tier", name=shown.tier)
        tiers = known.table().tiers()
        if known.catalogue is not None and shown.tier not in tiers:
            raise CommandError(f"there is no tier {shown.tier}: {nearest(shown.tier, tiers)}")
    else:
        scope = shown.every or "account"
        name = "" if scope == "account" else EVERY
        named = BudgetPolicy(scope=scope, account=shown.account or EVERY, name=name)
    if known.catalogue is None:
        print("Warning: this machine does not have the catalogue: only what commands set.", file=sys.stderr)
    policy = known.in_force(named)
    if as_json:
        _print_json(policy)
    else:
        lacking = policy.tier if known.lacks_tier(policy.tier) else ""
        print(scope_policy_text(policy, known.sources(named), lacking))
    return 0


def _report_text(report: BudgetReport, known: KnownBudgets) -> str:
    tier = report.status.policy.tier
    return report_text(report, _sources(report, known), tier if known.lacks_tier(tier) else "")


def _report_fields(report: BudgetReport, known: KnownBudgets) -> dict[str, Any]:
    """The report, with where each limit comes from."""
    fields: dict[str, Any] = msgspec.to_builtins(report)
    sources = _sources(report, known)
    for limit in fields["status"]["limits"]:
        limit["from"] = sources.get((limit["traffic"], limit["limit"]))
    return fields


def _sources(report: BudgetReport, known: KnownBudgets) -> LimitSources:
    """Empty where this machine does not have the catalogue."""
    status = report.status
    named = BudgetPolicy(scope=status.scope, account=status.account, name=status.name)
    return {} if known.catalogue is None else known.sources(named)


async def _known(settings: Settings, catalogue: Catalogue | None) -> KnownBudgets:
    async with _connected(settings) as nc:
        return await read_budgets(nc, catalogue)


async def _ask(
    shown: Shown, settings: Settings, catalogue: Catalogue | None
) -> tuple[list[BudgetReport], KnownBudgets]:
    async with _connected(settings) as nc:
        account = shown.account or settings.account
        if shown.key is not None:
            account = await account_of_key(nc, shown.key, shown.account)
        reports = [await _report(nc, query) for query in shown.queries(account)]
        return reports, await read_budgets(nc, catalogue)


async def _report(nc: Nats, query: BudgetQuery) -> BudgetReport:
    partition = subjects.SYSTEM_PARTITION if query.scope == "system" else subjects.partition_of(query.account)
    try:
        msg = await nc.request(subjects.ledger_budget(partition), codec.encode(query), timeout=_TIMEOUT_S)
    except (nats.errors.NoRespondersError, nats.errors.TimeoutError) as error:
        raise CommandError(
            "no ledger answers: `penstock up` starts one if the catalogue has a section budgets (docs/budgets.md); "
            "`penstock budget list` shows what was changed"
        ) from error
    check_answer(msg)
    try:
        return codec.BUDGET_REPORT.decode(msg.data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CommandError(f"the reply is not a ledger's: {error}") from error


async def _changes(settings: Settings) -> list[BudgetPolicyChanged | PriceChanged]:
    """In the order of time. An event of a later version that cannot be read is left out."""
    found: list[BudgetPolicyChanged | PriceChanged] = []
    async with _connected(settings) as nc:
        for subject in (POLICY_EVENTS, PRICE_EVENTS):
            async for msg in read_all(nc, AUDIT.name, subject):
                event = _event(msg.data)
                if isinstance(event, BudgetPolicyChanged | PriceChanged):
                    found.append(event)
    return sorted(found, key=lambda change: change.at_ms)


def _event(data: bytes) -> object:
    try:
        return codec.EVENT.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


async def _alerts(settings: Settings) -> list[BudgetAlerted]:
    async with _connected(settings) as nc:
        found = [_event(msg.data) async for msg in read_all(nc, AUDIT.name, _ALERTS)]
    return [event for event in found if isinstance(event, BudgetAlerted)]


@asynccontextmanager
async def _connected(settings: Settings) -> AsyncIterator[Nats]:
    async with open_connection(settings, _NAME) as nc:
        await check_provisioned(nc, settings)
        yield nc
