"""The text, CSV and JSON of a spend report."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Struct

from penstock.cli.render.costs import picousd_text, total_text
from penstock.cli.render.counting import counted
from penstock.cli.render.table import cell, table
from penstock.cli.render.terminal_safe import visible
from penstock.contract.ledger.spend import SpendAmounts, SpendDimension, SpendKey, SpendReport

__all__ = ["MonthOutlook", "spend_csv", "spend_json", "spend_text"]

_TIMES: Final = {"hour": "%Y-%m-%d %H:00", "day": "%Y-%m-%d", "month": "%Y-%m"}
_COLUMNS: Final = (
    *("spent", "requests", "attempts", "tokens in", "tokens out", "cached"),
    *("per request", "saved by cache", "saved by routing"),
)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""Text that begins so is run as a formula by a spreadsheet."""
_MICRO: Final = 1_000_000
_COSTS: Final = ("spent_usd", "spent_microusd", "spent_picousd", "per_request_picousd")
"""Fields of JSON that an unknown price leaves without a value."""


class MonthOutlook(Struct, frozen=True, kw_only=True):
    """What the current month will have cost at its end."""

    forecast_picousd: int | None
    """None: there is less than a day of use to judge by."""
    users: int
    until_s: int

    @property
    def per_user_picousd(self) -> int | None:
        if self.forecast_picousd is None or not self.users:
            return None
        return self.forecast_picousd // self.users


def spend_text(
    report: SpendReport, by: Sequence[SpendDimension], *, title: str, outlook: MonthOutlook | None
) -> str:
    lines = [title, ""]
    rows = [(*_names(row.key, by), *_cells(row.amounts)) for row in report.rows]
    total = (*("total", *[""] * (len(by) - 1))[: len(by)], *_cells(report.total))
    right = frozenset(range(len(by), len(by) + len(_COLUMNS)))
    lines.append(table((*by, *_COLUMNS), [*rows, total], right=right))
    if report.left_out:
        lines.append(f"({report.left_out:,} more rows, which cost less, are in the total)")
    lines += ["", *_notes(report, outlook)]
    return "\n".join(lines).rstrip()


def spend_json(
    report: SpendReport,
    by: Sequence[SpendDimension],
    *,
    since_s: int,
    until_s: int,
    outlook: MonthOutlook | None,
) -> dict[str, Any]:
    """Money as exact text of dollars, and as integers of micro-dollars (rounded to the nearest) and of picodollars
    (exact).
    """
    return {
        "since": _time_text(since_s, "%Y-%m-%dT%H:%MZ"),
        "until": _time_text(until_s, "%Y-%m-%dT%H:%MZ"),
        "by": list(by),
        "rows": [
            {**dict(zip(by, _raw_names(row.key, by), strict=True)), **_figures(row.amounts)}
            for row in report.rows
        ],
        "left_out_rows": report.left_out,
        "total": {**_figures(report.total), "users": report.users},
        "forecast_month": None
        if outlook is None or outlook.forecast_picousd is None or _is_cost_unknown(report.total)
        else {
            **_money(outlook.forecast_picousd),
            "per_user_picousd": outlook.per_user_picousd,
            "until": _time_text(outlook.until_s, "%Y-%m-%dT%H:%MZ"),
        },
        "missing_partitions": list(report.missing_partitions),
    }


def spend_csv(report: SpendReport, by: Sequence[SpendDimension]) -> str:
    """A header and the rows, without the total; cells that a spreadsheet would run as formulas begin with a quote."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow((*by, *_figures(SpendAmounts())))
    for row in report.rows:
        writer.writerow((*map(_csv_cell, _raw_names(row.key, by)), *_figures(row.amounts).values()))
    return out.getvalue().removesuffix("\n")


def _csv_cell(text: str) -> str:
    safe = visible(text)
    return f"'{safe}" if text.startswith(_FORMULA) else safe


def _names(key: SpendKey, by: Sequence[SpendDimension]) -> list[str]:
    return [cell(name or "-") for name in _raw_names(key, by)]


def _raw_names(key: SpendKey, by: Sequence[SpendDimension]) -> list[str]:
    return [
        _time_text(key.start_s, _TIMES[each]) if each in _TIMES else str(getattr(key, each)) for each in by
    ]


def _time_text(at_s: int, form: str) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime(form)


def _cells(amounts: SpendAmounts) -> tuple[str, ...]:
    unpriced = amounts.unpriced_attempts
    per_request = total_text(amounts.picousd // amounts.requests, unpriced) if amounts.requests else "-"
    return (
        total_text(amounts.picousd, unpriced),
        f"{amounts.requests:,}",
        f"{amounts.attempts:,}",
        f"{amounts.input_tokens:,}",
        f"{amounts.output_tokens:,}",
        f"{amounts.cached_input_tokens:,}",
        per_request,
        picousd_text(amounts.saved_by_cache_picousd),
        picousd_text(amounts.saved_by_routing_picousd),
    )


def _is_cost_unknown(amounts: SpendAmounts) -> bool:
    """Whether no part of the cost is known."""
    return amounts.picousd == 0 and amounts.unpriced_attempts > 0


def _figures(amounts: SpendAmounts) -> dict[str, int | str | None]:
    """The columns of CSV, and the fields of JSON. An amount of which no part is known is None."""
    counts: dict[str, int] = msgspec.structs.asdict(amounts)
    spent = counts.pop("picousd")
    per_request = spent // amounts.requests if amounts.requests else 0
    unknown = _COSTS if _is_cost_unknown(amounts) else ()
    return {**_money(spent), **counts, "per_request_picousd": per_request, **dict.fromkeys(unknown)}


def _money(picousd: int) -> dict[str, int | str]:
    dollars = f"{Decimal(picousd).scaleb(-12):f}"
    whole, _, fraction = dollars.partition(".")
    return {
        "spent_usd": f"{whole}.{fraction.rstrip('0').ljust(2, '0')}",
        "spent_microusd": (picousd + _MICRO // 2) // _MICRO,
        "spent_picousd": picousd,
    }


def _notes(report: SpendReport, outlook: MonthOutlook | None) -> Iterator[str]:
    total = report.total
    if outlook is not None and outlook.forecast_picousd is None:
        yield "no forecast: there is less than a day of use in this month"
    elif outlook is not None and _is_cost_unknown(total):
        yield "no forecast: the prices of the models are unknown"
    elif outlook is not None and outlook.forecast_picousd is not None:
        yield f"forecast to the end of the month: {picousd_text(outlook.forecast_picousd)}{_per_user(outlook)}"
    if total.estimated_attempts:
        yield f"with an estimated part of the usage: {counted(total.estimated_attempts, 'attempt')}"
    if total.unpriced_attempts:
        attempts = counted(total.unpriced_attempts, "attempt")
        yield f"at models without a price, whose cost is not in the amounts: {attempts}"
    missing = report.missing_partitions
    if missing:
        numbers, s = ", ".join(map(str, missing)), "" if len(missing) == 1 else "s"
        yield f"the newest spend of partition{s} {numbers} is missing: no ledger owns them at the moment"


def _per_user(outlook: MonthOutlook) -> str:
    if outlook.per_user_picousd is None:
        return ""
    return f" ({picousd_text(outlook.per_user_picousd)} per user, {counted(outlook.users, 'user')})"
