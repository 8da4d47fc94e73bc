"""`penstock spend`: what was spent, by whom and for what."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final, Literal

import msgspec
import nats.errors
from msgspec import Struct
from msgspec.structs import replace
from nats.aio.client import Client as Nats

from penstock.bus.clock import SYSTEM
from penstock.cli.connection import check_answer, check_provisioned, command_settings, open_connection
from penstock.cli.errors import CommandError
from penstock.cli.render.spend import MonthOutlook, spend_csv, spend_json, spend_text
from penstock.cli.render.terminal_safe import as_ascii_json
from penstock.cli.render.times import utc_text
from penstock.cli.spend_period import moment_s
from penstock.cli.waiting_note import waiting_note
from penstock.contract import subjects
from penstock.contract.codec import SPEND_REPORT, encode
from penstock.contract.ledger.spend import SpendDimension, SpendQuery, SpendReport
from penstock.runtime.config.settings import Settings
from services.ledger.spend.forecast import forecast_picousd
from services.ledger.spend.grouping import DAY_S, month_start_s, next_month_s

__all__ = ["SpendQuestion", "spend"]

_TIMEOUT_S: Final = 15.0
_MOST_ROWS: Final = 100_000


class SpendQuestion(Struct, frozen=True, kw_only=True):
    """The options of the command."""

    by: tuple[SpendDimension, ...]
    since: str = "month"
    until: str | None = None
    """None: until now."""
    account: str = ""
    user: str = ""
    form: Literal["text", "json", "csv"] = "text"


def spend(question: SpendQuestion, data: Path) -> int:
    """Raises BrokerUnreachable, ConfigurationRefused and CommandError."""
    now_s = int(SYSTEM.unix_s())
    since_s = moment_s(question.since, now_s)
    until_s = now_s + 1 if question.until is None else moment_s(question.until, now_s)
    if since_s > now_s:
        raise CommandError(f"--since {question.since} is in the future")
    if since_s >= until_s:
        raise CommandError("--since must be before --until")
    query = SpendQuery(
        since_s=since_s,
        until_s=until_s,
        by=question.by,
        account=question.account,
        user=question.user,
        limit=_MOST_ROWS,
    )
    report, outlook = asyncio.run(_read(query, now_s, command_settings(data)))
    print(_text(question, query, report, outlook))
    return 0


def _text(
    question: SpendQuestion, query: SpendQuery, report: SpendReport, outlook: MonthOutlook | None
) -> str:
    if question.form == "csv":
        return spend_csv(report, query.by)
    if question.form == "json":
        return as_ascii_json(
            spend_json(report, query.by, since_s=query.since_s, until_s=query.until_s, outlook=outlook)
        )
    since, until = (utc_text(at_s * 1000)[:16] for at_s in (query.since_s, query.until_s))
    return spend_text(report, query.by, title=f"Spend from {since} to {until} UTC", outlook=outlook)


async def _read(query: SpendQuery, now_s: int, settings: Settings) -> tuple[SpendReport, MonthOutlook | None]:
    """The report and, for the current month so far, its forecast."""
    async with open_connection(settings, "penstock-spend") as nc:
        await check_provisioned(nc, settings)
        report = await _ask(nc, query)
        month_s = month_start_s(now_s)
        if query.since_s != month_s or query.until_s <= now_s:
            return report, None
        hours = await _ask(nc, replace(query, by=("hour",)))
    until_s = next_month_s(month_s)
    first_s = min((row.key.start_s for row in hours.rows), default=now_s)
    expected = None
    if now_s - first_s >= DAY_S:
        expected = forecast_picousd(report.total.picousd, first_s, now_s, until_s)
    return report, MonthOutlook(forecast_picousd=expected, users=report.users, until_s=until_s)


async def _ask(nc: Nats, query: SpendQuery) -> SpendReport:
    try:
        async with waiting_note(f"no ledger has answered yet; waiting for up to {_TIMEOUT_S:.0f} s"):
            message = await nc.request(subjects.LEDGER_SPEND, encode(query), timeout=_TIMEOUT_S)
    except nats.errors.NoRespondersError as error:
        raise CommandError(
            "no ledger answers: `penstock up` starts one if the catalogue has a section budgets (docs/budgets.md)"
        ) from error
    except nats.errors.TimeoutError as error:
        raise CommandError(
            f"no ledger answers within {_TIMEOUT_S:.0f} s: `penstock ledger status` shows which ones live, and their "
            "logs give the reason; for a long period, ask for a part of it with --since and --until"
        ) from error
    check_answer(message)
    try:
        return SPEND_REPORT.decode(message.data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CommandError(f"the answer of the ledger cannot be read: {error}") from error
