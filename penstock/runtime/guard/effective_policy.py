"""The guard policy in force for one account, merged from the configuration and the live records."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from penstock.contract.guard.policies import (
    ACTIONS,
    DETECTORS,
    EVERY,
    GUARD_ACCOUNT,
    HAZARD_CATEGORIES,
    LOCAL_DETECTORS,
    Action,
    DetectorName,
    Direction,
    GuardMode,
    GuardPolicy,
    WhenUnavailable,
)
from penstock.runtime.config.guard import AccountGuard, Guard

__all__ = ["EffectivePolicy", "detectors_of", "effective_policy", "strongest"]


class EffectivePolicy(Struct, frozen=True):
    """Everything that applies to one account."""

    mode: GuardMode
    input: Mapping[str, Action]
    output: Mapping[str, Action]
    when_unavailable: Mapping[DetectorName, WhenUnavailable]
    """Only the enabled detectors."""
    restore: bool
    version: int = 0

    def actions(self, direction: Direction) -> Mapping[str, Action]:
        return self.input if direction == "input" else self.output

    def action(self, direction: Direction, category: str, kind: str = "") -> Action:
        """What happens to a finding: the action of its kind, else of its category, else `allow`."""
        actions = self.actions(direction)
        found = actions.get(f"{category}/{kind}") if kind else None
        return found or actions.get(category, "allow")

    def detectors(self, direction: Direction) -> tuple[DetectorName, ...]:
        """The enabled detectors of which the policy uses a category in this direction; none while it is off."""
        if self.mode == "off":
            return ()
        needed = {name for name, action in self.actions(direction).items() if action != "allow"}
        return tuple(each for each in self.when_unavailable if needed & detectors_of(each, needed))

    def enforcing(self, direction: Direction) -> tuple[DetectorName, ...]:
        """Those of `detectors` of which the policy redacts or blocks a category in this direction."""
        return self._acting(direction, ("redact", "block"))

    def blocking(self, direction: Direction) -> tuple[DetectorName, ...]:
        """Those of `detectors` of which the policy blocks a category or kind in this direction."""
        return self._acting(direction, ("block",))

    def _acting(self, direction: Direction, actions: tuple[Action, ...]) -> tuple[DetectorName, ...]:
        names = {name for name, action in self.actions(direction).items() if action in actions}
        return tuple(each for each in self.detectors(direction) if detectors_of(each, names))

    def redacts(self, direction: Direction) -> bool:
        return self.mode != "off" and "redact" in self.actions(direction).values()

    def fails_closed(self, direction: Direction, detectors: tuple[DetectorName, ...]) -> bool:
        """Whether content that none of these detectors has checked is refused. A detector whose findings would only be
        flagged refuses nothing.
        """
        enforcing = self.enforcing(direction)
        return any(self.when_unavailable.get(each) == "refuse" and each in enforcing for each in detectors)


def detectors_of(detector: DetectorName, names: set[str]) -> set[str]:
    """Those of `names`, categories or kinds, that `detector` finds."""
    found = (detector,) if detector in LOCAL_DETECTORS else HAZARD_CATEGORIES
    return {name for name in names if name in found or name.partition("/")[0] in found}


def strongest(actions: tuple[Action, ...]) -> Action:
    """The strongest of several actions; `allow` for none."""
    return max(actions, key=ACTIONS.index, default="allow")


def effective_policy(config: Guard, account: str, records: Mapping[str, GuardPolicy]) -> EffectivePolicy:
    """The policy of `account`. What is more specific goes before: its record, the record of every account, its entry in
    the configuration, the section. That of GUARD_ACCOUNT is always `off`. `records`: by account.
    """
    own, every = records.get(account), records.get(EVERY)
    entry = config.accounts.get(account, AccountGuard())
    live = [each for each in (every, own) if each is not None]
    input_, output = {**config.input, **entry.input}, {**config.output, **entry.output}
    mode = entry.mode or config.mode
    restore = config.restore if entry.restore is None else entry.restore
    unavailable: dict[DetectorName, WhenUnavailable] = {}
    for name in DETECTORS:
        settings = getattr(config.detectors, name)
        if getattr(settings, "enabled", True):
            unavailable[name] = settings.when_unavailable
    for layer in live:
        input_ |= layer.input
        output |= layer.output
        mode = layer.mode or mode
        restore = restore if layer.restore is None else layer.restore
        unavailable |= {name: when for name, when in layer.when_unavailable.items() if name in unavailable}
    version = own.version if own is not None else 0 if every is None else every.version
    mode = "off" if account == GUARD_ACCOUNT else mode
    return EffectivePolicy(mode, input_, output, unavailable, restore, version)
