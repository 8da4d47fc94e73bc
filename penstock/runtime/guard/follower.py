"""The guard policy of each account, kept equal to the configuration and the bucket `llm_guard`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Final

from nats.aio.client import Client as Nats

from penstock.bus.bucket import Record
from penstock.bus.connection import ConnectionEvents
from penstock.contract.guard.policies import EVERY, GUARD_ACCOUNT, GuardPolicy
from penstock.contract.streams import GUARD_POLICIES
from penstock.runtime.buckets.follower import BucketFollower
from penstock.runtime.config.guard import Guard
from penstock.runtime.guard.effective_policy import EffectivePolicy, effective_policy
from penstock.runtime.guard.records import account_label, records_of

__all__ = ["GuardPolicies"]

_log: Final = logging.getLogger(__name__)


class GuardPolicies:
    """The policies follow each change within a second. While the bucket cannot be read, and in place of a record that
    is not valid, what was known stays in force.
    """

    def __init__(self, nc: Nats, events: ConnectionEvents, config: Guard) -> None:
        self._config = config
        self._records: dict[str, GuardPolicy] = {}
        self._known: dict[str, EffectivePolicy] = {}
        """Of accounts that have a record or an entry in the configuration, merged when they are first asked for."""
        self._others = effective_policy(config, EVERY, {})
        self._was_read = False
        self._follower = BucketFollower(nc, events, GUARD_POLICIES, self._replace)

    async def start(self) -> bool:
        """Return when the records were read, or after some seconds without them: then False, and the policies of the
        configuration apply until they are read.
        """
        return await self._follower.start()

    async def stop(self) -> None:
        await self._follower.stop()

    def policy_of(self, account: str) -> EffectivePolicy:
        """The policy in force; the same object until a record changes."""
        known = self._known.get(account)
        if known is not None:
            return known
        if account not in self._records and account not in self._config.accounts and account != GUARD_ACCOUNT:
            return self._others
        policy = self._known[account] = effective_policy(self._config, account, self._records)
        return policy

    def _replace(self, stored: Sequence[Record]) -> None:
        before, self._records = self._records, records_of(stored, self._records)
        self._known.clear()
        self._others = effective_policy(self._config, EVERY, self._records)
        if self._was_read:
            _log_changes(before, self._records)
        self._was_read = True


def _log_changes(before: Mapping[str, GuardPolicy], after: Mapping[str, GuardPolicy]) -> None:
    for account, policy in after.items():
        if before.get(account) != policy:
            label, by = account_label(account), policy.changed_by
            _log.info("guard policy of %s: version %d by %s applies", label, policy.version, by)
    for account in before.keys() - after.keys():
        _log.info("guard policy of %s was removed", account_label(account))
