"""Live instances and the roles they serve, with tolerance for times in which this process received nothing."""

from __future__ import annotations

from collections.abc import Collection
from math import inf
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

__all__ = ["Membership"]

_MOST: Final = 1000
"""Upper bound on members: ten times a large deployment, and still cheap to fold while requests wait."""
_PRUNED_EVERY_S: Final = 1.0


class _Member(Struct, frozen=True):
    roles: frozenset[str]
    withdrawn: frozenset[str]
    """Models that it found withdrawn by their provider."""
    until_s: float
    extended: bool = False
    """Its time was extended for a silence since its last heartbeat."""


class Membership:
    """Instances and the roles they serve (routers serve none), each alive for `ttl_s` after its last heartbeat.

    A process also receives its own heartbeats. When it receives none for `silent_s`, it was frozen or disconnected,
    which says nothing about the others: live members are then kept for `grace_s` more, once per silence.

    There are at most `most` members. Members with a single heartbeat are dropped first, oldest first, so that a burst
    of new names displaces no established member.

    Times are monotonic seconds of this process: the clocks of the members may differ.
    """

    def __init__(self, ttl_s: float = 20, silent_s: float = 5, grace_s: float = 5, most: int = _MOST) -> None:
        self._ttl_s = ttl_s
        self._silent_s = silent_s
        self._grace_s = grace_s
        self._most = most
        self._members: dict[str, _Member] = {}
        """In the order of their latest heartbeats."""
        self._seen_once: dict[str, None] = {}
        """Members with a single heartbeat, in the same order."""
        self._prune_s = -inf
        self._heartbeat_s = inf
        """When any heartbeat was last received; infinite before the first, when there can be no silence."""
        self._may_extend = True
        """True until validity was extended once after the process itself received nothing."""
        self._served: frozenset[str] = frozenset()
        self._served_s = (inf, -inf)
        """The time during which `_served` is valid unless a heartbeat arrives."""

    def record_activity(self, now_s: float) -> None:
        """Record a heartbeat of any instance: this process receives, so an instance without a heartbeat is gone."""
        self._extend_after_silence(now_s)
        self._heartbeat_s, self._may_extend = now_s, True

    def record_heartbeat(
        self, instance: str, roles: Collection[str], now_s: float, withdrawn: Collection[str] = ()
    ) -> str | None:
        """`instance` is alive, serves exactly `roles`, and found these models withdrawn by their provider.

        Returns the member it displaces.
        """
        self.record_activity(now_s)
        self._prune(now_s)
        return self._put(instance, _Member(frozenset(roles), frozenset(withdrawn), now_s + self._ttl_s))

    def record_stored(self, instance: str, roles: Collection[str], now_s: float) -> str | None:
        """`instance` stored its presence while this process was disconnected: alive until a heartbeat can arrive.

        Returns the member it displaces.
        """
        known = self._members.get(instance)
        if known is not None and known.until_s >= now_s + self._grace_s:
            return None
        return self._put(
            instance, _Member(frozenset(roles), frozenset(), now_s + self._grace_s, extended=True)
        )

    def forget(self, instance: str) -> None:
        """`instance` has stopped."""
        if instance in self._members:
            self._drop(instance)

    def served(self, now_s: float) -> frozenset[str]:
        """The roles with a live worker at `now_s`."""
        self._extend_after_silence(now_s)
        since_s, until_s = self._served_s
        if not since_s <= now_s <= until_s:
            living = [each for each in self._members.values() if now_s <= each.until_s]
            self._served = frozenset().union(*(each.roles for each in living))
            self._served_s = (now_s, min((each.until_s for each in living), default=inf))
        return self._served

    def instances(self, now_s: float) -> frozenset[str]:
        """The instances alive at `now_s`."""
        self._extend_after_silence(now_s)
        return frozenset(name for name, each in self._members.items() if now_s <= each.until_s)

    def withdrawn(self, now_s: float) -> frozenset[str]:
        """The models that every live worker found withdrawn by their provider."""
        living = self.instances(now_s)
        found = [each.withdrawn for name, each in self._members.items() if name in living and each.roles]
        return found[0].intersection(*found[1:]) if found else frozenset()

    def _put(self, instance: str, member: _Member) -> str | None:
        self._served_s = (inf, -inf)
        if self._members.pop(instance, None) is None:
            self._seen_once[instance] = None
        else:
            self._seen_once.pop(instance, None)
        self._members[instance] = member
        if len(self._members) <= self._most:
            return None
        displaced = next(iter(self._seen_once if len(self._seen_once) > 1 else self._members))
        self._drop(displaced)
        return displaced

    def _prune(self, now_s: float) -> None:
        """Drop expired members: instances have new names at every start, and would pile up."""
        if now_s < self._prune_s:
            return
        self._prune_s = now_s + _PRUNED_EVERY_S
        for name in [name for name, each in self._members.items() if now_s > each.until_s]:
            self._drop(name)

    def _drop(self, name: str) -> None:
        self._served_s = (inf, -inf)
        del self._members[name]
        self._seen_once.pop(name, None)

    def _extend_after_silence(self, now_s: float) -> None:
        if not self._may_extend or now_s - self._heartbeat_s <= self._silent_s:
            return
        self._may_extend = False
        self._served_s = (inf, -inf)
        for name, each in self._members.items():
            if each.until_s >= self._heartbeat_s and not each.extended:
                until_s = max(each.until_s, now_s + self._grace_s)
                self._members[name] = replace(each, until_s=until_s, extended=True)
