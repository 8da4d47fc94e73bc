"""`penstock guard set` and `unset`: audited changes of one guard policy."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from penstock.cli.commands.audited_change import author, changing
from penstock.cli.connection import command_settings
from penstock.cli.errors import CommandError
from penstock.cli.guard.edit import INHERIT, GuardChange, changed_policy
from penstock.cli.guard.known_policies import KnownPolicies, read_policies
from penstock.cli.known_catalogue import known_catalogue
from penstock.cli.render.guard import change_text
from penstock.cli.render.terminal_safe import visible
from penstock.contract.events import GuardPolicyChanged
from penstock.contract.guard.policies import GUARD_ACCOUNT, GuardPolicy
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.guard import Guard, is_searched
from penstock.runtime.guard.changes import change_guard_policy
from penstock.runtime.guard.records import account_label

__all__ = ["set_policy", "unset_policy", "warn_without_guard"]

_NAME: Final = "penstock-guard-policy"
_NO_GUARD: Final = (
    "Warning: the catalogue {} has no section guard: no content is checked, and policies have no effect until it has "
    "one (docs/guard.md)."
)


def set_policy(account: str, change: GuardChange, by: str | None, data: Path) -> int:
    """Raises BrokerUnreachable, ConfigurationRefused and CommandError; then nothing was changed."""
    if account == GUARD_ACCOUNT:
        raise CommandError(
            f"the account {GUARD_ACCOUNT} is the guard's own, whose requests are never checked: it has no policy"
        )

    def changed(before: GuardPolicy | None, known: KnownPolicies) -> GuardPolicy:
        if known.config is not None:
            _check_detectors(change, known.config)
        return changed_policy(before or GuardPolicy(account=account), change)

    return _apply(account, by, data, changed)


def unset_policy(account: str, by: str | None, data: Path) -> int:
    """Raises as `set_policy`."""
    return _apply(account, by, data, lambda _before, _known: None)


def warn_without_guard(catalogue: Catalogue | None) -> None:
    """Say that policies have no effect where the catalogue has no guard."""
    if catalogue is not None and catalogue.guard is None:
        print(_NO_GUARD.format(catalogue.name), file=sys.stderr)


def _apply(
    account: str,
    by: str | None,
    data: Path,
    change: Callable[[GuardPolicy | None, KnownPolicies], GuardPolicy | None],
) -> int:
    """Store the changed policy, and print what was in force before and is now."""
    catalogue = known_catalogue(data)

    async def run() -> tuple[GuardPolicyChanged | None, KnownPolicies]:
        async with changing(command_settings(data), _NAME) as nc:
            known = await read_policies(nc, catalogue)
            changed = await change_guard_policy(
                nc.jetstream(), account, lambda before: change(before, known), author(by)
            )
            return changed, known

    changed, known = asyncio.run(run())
    if changed is None:
        print(f"Nothing to change: the guard policy of {account_label(account)} is as it was.")
        return 0
    before, after = (
        known.with_record(account, record).settings(account) for record in (changed.before, changed.after)
    )
    print(
        visible(
            f"Guard policy of {account_label(account)}: {change_text(before, after)}, by {changed.changed_by}."
        )
    )
    warn_without_guard(catalogue)
    return 0


def _check_detectors(change: GuardChange, config: Guard) -> None:
    """Raises CommandError for an action or a setting that has no effect, because its detector is not enabled."""
    for name in sorted(change.acts_on()):
        if not is_searched(name, config.detectors):
            raise CommandError(
                f"no enabled detector finds {name}, so that nothing would happen: enable "
                "guard.detectors.safety_model or guard.detectors.openai_moderation in the catalogue first"
            )
    for detector, when in change.when_unavailable.items():
        if when != INHERIT and not getattr(getattr(config.detectors, detector), "enabled", True):
            raise CommandError(
                f"the detector {detector} is not enabled: enable guard.detectors.{detector} first"
            )
