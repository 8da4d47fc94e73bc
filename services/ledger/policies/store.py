"""Keeps the policy table equal to the bucket, and logs each change."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from nats.aio.client import Client as Nats

from penstock.bus.connection import ConnectionEvents
from penstock.contract.ledger.policies import BudgetPolicy
from penstock.runtime.budgets.describe import policy_text, scope_text
from penstock.runtime.budgets.follower import BudgetFollower
from penstock.runtime.budgets.records import BudgetRecords
from services.ledger.policies.table import PolicyTable

__all__ = ["PolicyStore"]

_log: Final = logging.getLogger(__name__)


class PolicyStore:
    """Follows the live policies. Until they can be read, and while NATS is away, those that are known are in force."""

    def __init__(
        self,
        nc: Nats,
        events: ConnectionEvents,
        table: PolicyTable,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_change` is called after a change, for example to decide waiting holds again."""
        self._table = table
        self._on_change = on_change
        self._was_read = False
        self._without_tier: list[BudgetPolicy] = []
        self._follower = BudgetFollower(nc, events, self._replace)

    async def start(self) -> bool:
        """Return when the policies were read, or after some seconds without them: then False."""
        return await self._follower.start()

    async def stop(self) -> None:
        await self._follower.stop()

    def _replace(self, records: BudgetRecords) -> None:
        changes = self._table.replace(records)
        if self._was_read:
            for before, after in changes:
                _log_change(before, after)
        elif changes:
            _log.info("%d live budget policies are in force", len(changes))
        self._was_read = True
        self._report_missing_tiers()
        self._on_change()

    def _report_missing_tiers(self) -> None:
        """An error for each policy whose tier does not exist, once until the tier is there."""
        tiers = self._table.tiers()
        missing = [policy for policy in self._table.with_tier() if policy.tier not in tiers]
        for policy in missing:
            if policy not in self._without_tier:
                _log.error(
                    "the tier %s of %s does not exist: no limit of it applies; `penstock budget set "
                    "--tier-definition %s ...` defines it",
                    policy.tier,
                    scope_text(policy),
                    policy.tier,
                )
        self._without_tier = missing


def _log_change(before: BudgetPolicy | None, after: BudgetPolicy | None) -> None:
    if after is not None:
        what, who = scope_text(after), after.changed_by
        _log.info("budget of %s changed by %s: %s -> %s", what, who, policy_text(before), policy_text(after))
    elif before is not None:
        _log.info("budget of %s removed; it was: %s", scope_text(before), policy_text(before))
