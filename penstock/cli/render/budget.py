"""The text of budgets: what is spent, held and left, the changed policies, and their history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from penstock.cli.budget.known_budgets import LimitSources
from penstock.cli.program_name import as_invoked
from penstock.cli.render.prices import price_text
from penstock.cli.render.table import cell, table
from penstock.cli.render.terminal_safe import visible
from penstock.cli.render.times import utc_text
from penstock.contract.events import BudgetAlerted, BudgetPolicyChanged, PriceChanged
from penstock.contract.ledger.limits import LimitStatus
from penstock.contract.ledger.policies import LIMIT_NAMES, TRAFFIC_CLASSES, BudgetPolicy, TokenPrices
from penstock.contract.ledger.status import BudgetReport, BudgetStatus
from penstock.runtime.budgets.describe import amount_text, limit_text, policy_text, scope_text

__all__ = [
    "alerts_text",
    "history_text",
    "policies_text",
    "refusing_limit_text",
    "report_text",
    "scope_policy_text",
    "without_absent_limits",
]

_BAR: Final = 10
"""Characters of the bar of one limit."""
_SOFT: Final = " (soft)"
_FULL, _EMPTY = "█", "░"
_TITLES: Final = ("limit", "used", "", "spent", "held", "left", "of", "resets (UTC)")
_RIGHT: Final = frozenset({2, 3, 4, 5, 6})
_OPTIONAL: Final = frozenset((*LIMIT_NAMES, *TRAFFIC_CLASSES, *TokenPrices.__struct_fields__))
"""Fields of policies and prices in which null means that there is none."""


def report_text(report: BudgetReport, sources: LimitSources, lacking: str = "") -> str:
    """One scope: what it has spent, and a row for each of its limits. `sources` may be empty: not known. `lacking`: the
    tier that it names, if it does not exist.
    """
    status = report.status
    named = BudgetPolicy(scope=status.scope, account=status.account, name=status.name)
    tier = f" (tier {status.policy.tier})" if status.policy.tier else ""
    lines = [f"{visible(scope_text(named))}{tier}, {utc_text(report.at_ms)} UTC"]
    if status.policy.disabled:
        lines.append("  disabled: every request is refused")
    lines += _lacking_lines(lacking)
    lines.append(f"  {_totals(status)}")
    if not status.limits:
        return "\n".join([*lines, "  no limits"])
    titles: tuple[str, ...] = _TITLES
    rows = [_row(limit) for limit in status.limits]
    if sources:
        titles = (*titles, "from")
        rows = [
            (*row, cell(sources.get((limit.traffic, limit.limit)) or "-"))
            for row, limit in zip(rows, status.limits, strict=True)
        ]
    return "\n".join([*lines, *_indented(table(titles, rows, right=_RIGHT))])


def scope_policy_text(policy: BudgetPolicy, sources: LimitSources, lacking: str = "") -> str:
    """A tier, or the budget of every account, user or key: its limits and where they come from."""
    lines = [f"{visible(scope_text(policy))}{f' (tier {policy.tier})' if policy.tier else ''}"]
    if policy.disabled:
        lines.append("  disabled: every request is refused")
    lines += _lacking_lines(lacking)
    rows = []
    for (traffic, name), source in sources.items():
        limits = policy.limits if traffic is None else getattr(policy, traffic)
        amount = None if limits is None else getattr(limits, name)
        if amount is not None:
            shown = (
                f"{f'{traffic}: ' if traffic else ''}{limit_text(name)}{_SOFT if name in policy.soft else ''}"
            )
            rows.append((shown, amount_text(name, amount), cell(source)))
    if not rows:
        return "\n".join([*lines, "  no limits"])
    return "\n".join([*lines, *_indented(table(("limit", "of", "from"), rows, right=frozenset({1})))])


def _lacking_lines(tier: str) -> list[str]:
    if not tier:
        return []
    define = as_invoked(f"`penstock budget set --tier-definition {tier} ...`")
    return [
        f"  error: the tier {tier} does not exist, so that none of its limits applies: {define} defines it"
    ]


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.splitlines()]


def alerts_text(alerts: Sequence[BudgetAlerted]) -> str:
    if not alerts:
        return "No budget has reached 80% of a limit of tokens or money per day or month."
    rows = [
        (
            utc_text(alert.at_ms),
            cell(scope_text(BudgetPolicy(scope=alert.scope, account=alert.account, name=alert.name))),
            f"{f'{alert.traffic}: ' if alert.traffic else ''}{limit_text(alert.limit)}",
            f"{alert.percent}%",
            amount_text(alert.limit, alert.spent),
            amount_text(alert.limit, alert.allowed),
            utc_text(alert.resets_at_ms) if alert.resets_at_ms else "-",
        )
        for alert in alerts
    ]
    titles = ("at (UTC)", "budget of", "limit", "reached", "spent", "of", "resets (UTC)")
    return table(titles, rows, right=frozenset({3, 4, 5}))


def without_absent_limits(value: Any) -> Any:
    """Plain data without the limits and prices that are null."""
    if isinstance(value, list | tuple):
        return [without_absent_limits(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: without_absent_limits(each)
        for key, each in value.items()
        if each is not None or key not in _OPTIONAL
    }


def policies_text(policies: Sequence[BudgetPolicy]) -> str:
    if not policies:
        return "No budget was changed: what the catalogue says applies."
    rows = [
        (
            cell(scope_text(policy)),
            visible(policy_text(policy)),
            str(policy.version),
            cell(policy.changed_by),
            utc_text(policy.changed_ms),
            cell(policy.note),
        )
        for policy in policies
    ]
    return table(("budget of", "policy", "version", "changed by", "at (UTC)", "note"), rows)


def history_text(changes: Sequence[BudgetPolicyChanged | PriceChanged]) -> str:
    """One line for each change, and what it was before below it."""
    if not changes:
        return "No budget or price was changed in the last 30 days."
    return "\n".join(visible(line) for change in changes for line in _change_lines(change))


def refusing_limit_text(status: LimitStatus, *, fits_later: bool) -> str:
    """The limit that refused a request, on one line; when it resets, where the request fits then."""
    spent, held, allowed = (
        amount_text(status.limit, amount) for amount in (status.spent, status.held, status.allowed)
    )
    of = "the system" if status.scope == "system" else f"the {status.scope}"
    traffic = f", {status.traffic} only" if status.traffic else ""
    use = f"{spent} of {allowed} spent" + (f", {held} held by requests in progress" if status.held else "")
    resets = f"; resets at {utc_text(status.resets_at_ms)} UTC"
    until = resets if fits_later and status.resets_at_ms else ""
    return f"limit {limit_text(status.limit)} of {of}{traffic}: {use}{until}"


def _totals(status: BudgetStatus) -> str:
    money = [
        amount_text("microusd_", amount)
        for amount in (status.spent_today_microusd, status.spent_this_month_microusd, status.held_microusd)
    ]
    requests = "request" if status.open_holds == 1 else "requests"
    return (
        f"spent {money[0]} today, {money[1]} this month; {money[2]} held for {status.open_holds} {requests}"
    )


def _row(status: LimitStatus) -> tuple[str, ...]:
    name = limit_text(status.limit)
    traffic = f"{status.traffic}: " if status.traffic else ""
    used = status.spent + status.held
    share = 1.0 if status.allowed <= used else used / status.allowed
    filled = int(share * _BAR)
    amounts = (status.spent, status.held, status.left, status.allowed)
    return (
        f"{traffic}{name}{_SOFT if status.soft else ''}",
        _FULL * filled + _EMPTY * (_BAR - filled),
        f"{int(share * 100)}%",
        *(amount_text(status.limit, amount) for amount in amounts),
        utc_text(status.resets_at_ms) if status.resets_at_ms else "-",
    )


def _change_lines(change: BudgetPolicyChanged | PriceChanged) -> tuple[str, str, str]:
    named = change.after or change.before
    if isinstance(named, BudgetPolicy):
        what, note = f"budget of {scope_text(named)}", named.note if change.after is not None else ""
    else:
        what, note = f"price of {'?' if named is None else named.model}", ""
    before, after = (_side(side) for side in (change.before, change.after))
    head = f"{utc_text(change.at_ms)}  {change.changed_by}  {what}{f'  ({note})' if note else ''}"
    return head, f"    before: {before}", f"    after:  {after}"


def _side(side: object) -> str:
    if side is None:
        return "nothing of its own"
    return policy_text(side) if isinstance(side, BudgetPolicy) else price_text(side.prices)  # type: ignore[attr-defined]
