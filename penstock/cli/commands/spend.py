"""`penstock spend`: what was spent, by whom and for what."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final, Literal

import msgspec
import nats.errors
from msgspec import Struct

from penstock.bus.clock import SYSTEM
from penstock.cli.connection import check_provisioned, command_settings, open_connection
from penstock.cli.errors import CommandError
from penstock.cli.render.spend import MonthOutlook, spend_csv, spend_json, spend_text
from penstock.cli.render.terminal_safe import as_ascii_json
from penstock.cli.render.times import utc_text
from penstock.cli.spend_period import moment_s
from penstock.contract import subjects
from penstock.contract.codec import SPEND_REPORT, encode
from penstock.contract.ledger.spend import SpendDimension, SpendQuery, SpendReport
from penstock.runtime.config.settings import Settings
from services.ledger.spend.forecast import forecast_picousd
from services.ledger.spend.grouping import month_start_s, next_month_s

__all__ = ["SpendQuestion", "spend"]

_TIMEOUT_S: Final = 60.0
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
    report = asyncio.run(_ask(query, command_settings(data)))
    print(_text(question, query, report, now_s))
    return 0


def _text(question: SpendQuestion, query: SpendQuery, report: SpendReport, now_s: int) -> str:
    if question.form == "csv":
        return spend_csv(report, query.by)
    outlook = _outlook(query, report, now_s)
    if question.form == "json":
        return as_ascii_json(
            spend_json(report, query.by, since_s=query.since_s, until_s=query.until_s, outlook=outlook)
        )
    since, until = (utc_text(at_s * 1000)[:16] for at_s in (query.since_s, query.until_s))
    return spend_text(report, query.by, title=f"Spend from {since} to {until} UTC", outlook=outlook)


def _outlook(query: SpendQuery, report: SpendReport, now_s: int) -> MonthOutlook | None:
    """Only for a report on the current month so far."""
    month_s = month_start_s(now_s)
    if query.since_s != month_s or query.until_s <= now_s:
        return None
    end_s = next_month_s(month_s)
    expected = forecast_picousd(report.total.picousd, month_s, now_s, end_s)
    if expected is None:
        return None
    return MonthOutlook(forecast_picousd=expected, users=report.users, until_s=end_s)


async def _ask(query: SpendQuery, settings: Settings) -> SpendReport:
    async with open_connection(settings, "penstock-spend") as nc:
        await check_provisioned(nc, settings)
        try:
            message = await nc.request(subjects.LEDGER_SPEND, encode(query), timeout=_TIMEOUT_S)
        except nats.errors.NoRespondersError as error:
            raise CommandError(
                "no ledger is running: it is started where the catalogue has `budgets` (docs/budgets.md)"
            ) from error
        except nats.errors.TimeoutError as error:
            raise CommandError(
                f"no ledger has answered within {_TIMEOUT_S:.0f} s; its log gives the reason"
            ) from error
    try:
        return SPEND_REPORT.decode(message.data)
    except msgspec.DecodeError as error:
        raise CommandError(f"the answer of the ledger cannot be read: {error}") from error
