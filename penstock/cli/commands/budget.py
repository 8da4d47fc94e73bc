"""`penstock budget show`, `list` and `history`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import nats.errors
from nats.aio.client import Client as Nats

from penstock.bus.bucket import read_records
from penstock.bus.direct_get import read_all
from penstock.cli.connection import check_provisioned, command_settings, open_connection
from penstock.cli.errors import CommandError
from penstock.cli.render.budget import history_text, policies_text, report_text
from penstock.cli.render.terminal_safe import as_ascii_json
from penstock.contract import codec, subjects
from penstock.contract.events import BudgetPolicyChanged, PriceChanged
from penstock.contract.ledger.policies import BudgetPolicy
from penstock.contract.ledger.status import BudgetQuery, BudgetReport
from penstock.contract.streams import BUDGETS, EVENTS
from penstock.runtime.budgets.changes import POLICY_EVENTS, PRICE_EVENTS
from penstock.runtime.budgets.records import BudgetRecords, records_of
from penstock.runtime.config.settings import Settings

__all__ = ["Shown", "list_budgets", "show_budget", "show_history"]

_NAME: Final = "penstock-budget"
_TIMEOUT_S: Final = 5.0


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """Whose budgets `budget show` shows: those of an account, and of one of its users and keys, or of the system."""

    account: str | None = None
    user: str | None = None
    key: str | None = None
    system: bool = False

    def queries(self, default_account: str) -> list[BudgetQuery]:
        if self.system:
            return [BudgetQuery(scope="system")]
        account = self.account or default_account
        found = [BudgetQuery(scope="account", account=account)]
        if self.user is not None:
            found.append(BudgetQuery(scope="user", account=account, name=self.user))
        if self.key is not None:
            found.append(BudgetQuery(scope="key", account=account, name=self.key))
        return found


def show_budget(shown: Shown, data: Path, *, as_json: bool) -> int:
    """Raises BrokerUnreachable, ConfigurationRefused and CommandError."""
    reports = asyncio.run(_ask(shown, command_settings(data)))
    print(as_ascii_json(reports) if as_json else "\n\n".join(map(report_text, reports)))
    return 0


def list_budgets(data: Path, *, as_json: bool) -> int:
    """Raises as `show_budget`."""
    policies = asyncio.run(_policies(command_settings(data)))
    print(as_ascii_json(policies) if as_json else policies_text(policies))
    return 0


def show_history(account: str | None, data: Path, *, as_json: bool) -> int:
    """Raises as `show_budget`."""
    changes = asyncio.run(_changes(command_settings(data)))
    chosen = [change for change in changes if account is None or _account_of(change) == account]
    print(as_ascii_json(chosen) if as_json else history_text(chosen))
    return 0


async def _ask(shown: Shown, settings: Settings) -> list[BudgetReport]:
    async with _connected(settings) as nc:
        return [await _report(nc, query) for query in shown.queries(settings.account)]


async def _report(nc: Nats, query: BudgetQuery) -> BudgetReport:
    partition = subjects.SYSTEM_PARTITION if query.scope == "system" else subjects.partition_of(query.account)
    try:
        msg = await nc.request(subjects.ledger_budget(partition), codec.encode(query), timeout=_TIMEOUT_S)
    except (nats.errors.NoRespondersError, nats.errors.TimeoutError) as error:
        raise CommandError(
            "no ledger answers: `penstock up` starts one if the catalogue has a section budgets (docs/budgets.md); "
            "`penstock budget list` shows what was changed"
        ) from error
    try:
        return codec.BUDGET_REPORT.decode(msg.data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CommandError(f"the reply is not a ledger's: {error}") from error


async def _policies(settings: Settings) -> list[BudgetPolicy]:
    async with _connected(settings) as nc:
        found = records_of(await read_records(nc, BUDGETS), BudgetRecords()).policies.values()
    return sorted(found, key=lambda policy: (policy.scope, policy.account, policy.name))


async def _changes(settings: Settings) -> list[BudgetPolicyChanged | PriceChanged]:
    """In the order of time. An event of a later version that cannot be read is left out."""
    found: list[BudgetPolicyChanged | PriceChanged] = []
    async with _connected(settings) as nc:
        for subject in (POLICY_EVENTS, PRICE_EVENTS):
            async for msg in read_all(nc, EVENTS.name, subject):
                event = _event(msg.data)
                if isinstance(event, BudgetPolicyChanged | PriceChanged):
                    found.append(event)
    return sorted(found, key=lambda change: change.at_ms)


def _event(data: bytes) -> object:
    try:
        return codec.EVENT.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _account_of(change: BudgetPolicyChanged | PriceChanged) -> str:
    policy = change.after or change.before
    return policy.account if isinstance(policy, BudgetPolicy) else ""


@asynccontextmanager
async def _connected(settings: Settings) -> AsyncIterator[Nats]:
    async with open_connection(settings, _NAME) as nc:
        await check_provisioned(nc, settings)
        yield nc
