"""The text of guard policies: what is in force and where it comes from, their history, and the guard's decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from penstock.cli.guard.known_policies import KnownPolicies, settings_of
from penstock.cli.render.table import cell, table
from penstock.cli.render.terminal_safe import visible
from penstock.cli.render.times import utc_text
from penstock.contract.events import GuardDecided, GuardPolicyChanged
from penstock.contract.guard.policies import EVERY, KINDS, GuardPolicy
from penstock.runtime.guard.records import account_label

__all__ = ["accounts_text", "change_text", "history_text", "policy_text", "verdicts_text"]

_NOTHING: Final = "nothing of its own"
_NOT_SET: Final = "not set"
_RECORD_TITLES: Final = (
    "account",
    "mode",
    "settings of its own",
    "version",
    "changed by",
    "at (UTC)",
    "note",
)
_VERDICT_TITLES: Final = (
    *("at (UTC)", "account", "user", "of", "action", "findings", "not checked by", "ms", "request"),
)


def policy_text(account: str, known: KnownPolicies) -> str:
    """What applies to an account, a row for each setting."""
    record = known.records.get(account)
    head = f"Guard policy of {account_label(account)}"
    if account == EVERY:
        head = "Guard policy of every account without its own"
    if record is not None:
        note = f" ({record.note})" if record.note else ""
        head += f", version {record.version}, changed by {record.changed_by} at {utc_text(record.changed_ms)} UTC{note}"
    sources = known.sources(account)
    rows = [(name, value, cell(sources[name])) for name, value in known.settings(account).items()]
    if not rows:
        return f"{visible(head)}\n  {_NOTHING}"
    shown = table(("setting", "value", "from"), rows)
    return "\n".join([visible(head), *(f"  {line}" for line in shown.splitlines())])


def accounts_text(known: KnownPolicies) -> str:
    """The accounts that have a policy of their own."""
    accounts = known.named()
    if not accounts:
        return "No account has a policy of its own."
    return table(_RECORD_TITLES, [_account_row(account, known) for account in accounts])


def change_text(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """What a change of a policy does to the settings in force: `mode beside -> off, restore yes -> no`."""
    names = dict.fromkeys((*before, *after))
    changes = [
        f"{name} {_in_force(name, before)} -> {_in_force(name, after)}"
        for name in names
        if before.get(name) != after.get(name)
    ]
    return ", ".join(changes) or "in force as before"


def _in_force(name: str, settings: Mapping[str, str]) -> str:
    """The setting; of a kind without its own the action of its category, as `redact (personal_data)`."""
    own = settings.get(name)
    direction, _, kind = name.partition(" ")
    category = kind.partition("/")[0]
    if own is None and category in KINDS and f"{direction} {category}" in settings:
        return f"{settings[f'{direction} {category}']} ({category})"
    return _NOT_SET if own is None else own


def history_text(changes: Sequence[GuardPolicyChanged]) -> str:
    """One line for each change, and what the policy was before and after below it."""
    if not changes:
        return "No guard policy was changed in the last 30 days."
    return "\n".join(visible(line) for change in changes for line in _change_lines(change))


def verdicts_text(decided: Sequence[GuardDecided]) -> str:
    if not decided:
        return "The guard has found nothing in the last 30 days."
    rows = [
        (
            utc_text(each.at_ms),
            cell(each.account),
            cell(each.user) or "-",
            each.direction,
            "refuse" if each.refused and each.action != "block" else each.action,
            cell(_counts(each.findings)) or "-",
            ", ".join(each.unchecked_by) or "-",
            f"{each.elapsed_ms:.0f}",
            cell(each.id),
        )
        for each in decided
    ]
    return table(_VERDICT_TITLES, rows, right=frozenset({7}))


def _counts(findings: Mapping[str, int]) -> str:
    return ", ".join(name if number == 1 else f"{name} x{number}" for name, number in findings.items())


def _account_row(account: str, known: KnownPolicies) -> tuple[str, ...]:
    mode, record = known.settings(account).get("mode", "-"), known.records.get(account)
    if record is None:
        return (cell(account), mode, "of the catalogue", "-", "-", "-", "-")
    return (
        cell(account),
        mode,
        cell(_settings_text(record)),
        str(record.version),
        cell(record.changed_by),
        utc_text(record.changed_ms),
        cell(record.note),
    )


def _change_lines(change: GuardPolicyChanged) -> tuple[str, str, str]:
    named = change.after or change.before
    note = "" if change.after is None or not change.after.note else f"  ({change.after.note})"
    of = "?" if named is None else account_label(named.account)
    head = f"{utc_text(change.at_ms)}  {change.changed_by}  guard policy of {of}{note}"
    before, after = (_settings_text(policy) for policy in (change.before, change.after))
    return head, f"    before: {before}", f"    after:  {after}"


def _settings_text(policy: GuardPolicy | None) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings_of(policy).items()) or _NOTHING
