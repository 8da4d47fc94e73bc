"""The guard policies in force, as far as this machine has the catalogue: for commands that show or change one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from nats.aio.client import Client as Nats

from penstock.bus.bucket import read_records
from penstock.contract.guard.policies import EVERY, GuardPolicy
from penstock.contract.streams import GUARD_POLICIES
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.guard import AccountGuard, Guard
from penstock.runtime.guard.effective_policy import EffectivePolicy, effective_policy
from penstock.runtime.guard.records import records_of

__all__ = ["KnownPolicies", "read_policies", "settings_of"]

_YES_NO: Final = {True: "yes", False: "no"}


class KnownPolicies(Struct, frozen=True):
    """The records of the bucket and the catalogue."""

    records: Mapping[str, GuardPolicy]
    catalogue: Catalogue | None
    """None: this machine has none, and only the records are known."""

    @property
    def config(self) -> Guard | None:
        return None if self.catalogue is None else self.catalogue.guard

    def with_record(self, account: str, record: GuardPolicy | None) -> KnownPolicies:
        """The same after a change of the record of `account`."""
        others = {other: policy for other, policy in self.records.items() if other != account}
        return KnownPolicies(others if record is None else {**others, account: record}, self.catalogue)

    def in_force(self, account: str) -> EffectivePolicy | None:
        """None where this machine has no configuration of the guard."""
        return None if self.config is None else effective_policy(self.config, account, self.records)

    def settings(self, account: str) -> dict[str, str]:
        """What is in force; without a configuration what records say."""
        policy = self.in_force(account)
        if policy is not None:
            return settings_of(policy)
        return {
            name: value for _, layer in self._layers(account) for name, value in settings_of(layer).items()
        }

    def sources(self, account: str) -> dict[str, str]:
        """The most specific layer that has each setting in force."""
        found = {name: source for source, layer in self._layers(account) for name in settings_of(layer)}
        return {name: found.get(name, "always") for name in self.settings(account)}

    def named(self) -> list[str]:
        """The accounts that have a record or an entry in the catalogue."""
        entries = () if self.config is None else self.config.accounts
        return sorted({*self.records, *entries} - {EVERY})

    def _layers(self, account: str) -> Iterator[tuple[str, EffectivePolicy | AccountGuard | GuardPolicy]]:
        """What applies to `account`, the least specific first."""
        if self.config is not None:
            yield "catalogue", effective_policy(replace(self.config, accounts={}), EVERY, {})
            if account in self.config.accounts:
                yield f"catalogue, account {account}", self.config.accounts[account]
        if EVERY in self.records:
            yield "every account", self.records[EVERY]
        if account in self.records and account != EVERY:
            yield "own", self.records[account]


async def read_policies(nc: Nats, catalogue: Catalogue | None) -> KnownPolicies:
    """Raises nats errors and TimeoutError."""
    return KnownPolicies(records_of(await read_records(nc, GUARD_POLICIES), {}), catalogue)


def settings_of(policy: EffectivePolicy | AccountGuard | GuardPolicy | None) -> dict[str, str]:
    """Each setting that a policy has, by a name for a person: `mode`, `input secrets`, `secrets unavailable`."""
    if policy is None:
        return {}
    found: dict[str, str] = {}
    if policy.mode is not None:
        found["mode"] = policy.mode
    for direction, actions in (("input", policy.input), ("output", policy.output)):
        found |= {f"{direction} {name}": action for name, action in actions.items()}
    if policy.restore is not None:
        found["restore"] = _YES_NO[policy.restore]
    if not isinstance(policy, AccountGuard):
        found |= {f"{name} unavailable": when for name, when in policy.when_unavailable.items()}
    return found
