"""Which roles have a live worker, from what the workers say of themselves, and when the router itself was deaf."""

from __future__ import annotations

from collections.abc import Collection
from math import inf
from typing import Final

from msgspec import Struct

__all__ = ["Presence"]

_MOST: Final = 1000
"""Ten times what we run, and little enough to be reckoned with while requests wait."""
_PRUNED_EVERY_S: Final = 1.0


class _Belief(Struct, frozen=True):
    roles: frozenset[str]
    until_s: float
    spared: bool = False
    """A silence was not held against it since it was last seen."""


class Presence:
    """Instances and the roles they serve (a router none), each believed for `ttl_s` after it was last seen.

    A router hears its own beats, too. When it hears nobody for `silent_s`, it was frozen or cut off: that says nothing
    of the others, and those believed in before are for `patience_s` more, in which a live one is heard. This is done
    once: who is not seen then is not believed after a second silence.

    At most `most` are believed in, whoever says to be there: whoever was seen once makes way first, the oldest of them,
    so that a burst of new names drives out nobody who has been there for a while.

    Times are monotonic seconds of the router, never of the other: their clocks may differ.
    """

    def __init__(
        self, ttl_s: float = 20, silent_s: float = 5, patience_s: float = 5, most: int = _MOST
    ) -> None:
        self._ttl_s = ttl_s
        self._silent_s = silent_s
        self._patience_s = patience_s
        self._most = most
        self._instances: dict[str, _Belief] = {}
        """Who was seen last stands last."""
        self._once: dict[str, None] = {}
        """Seen once, in the same order."""
        self._prune_s = -inf
        self._heard_s = inf
        """When anybody was heard last; nobody yet: there is no silence before the first word."""
        self._sparing = True
        """Nobody was spared yet for the silence that lasts."""
        self._served: frozenset[str] = frozenset()
        self._served_s = (inf, -inf)
        """From when until when that holds, unless somebody is heard of."""

    def heard(self, now_s: float) -> None:
        """Somebody, whoever it is, spoke: silence of others is their own from here on."""
        self._notice_silence(now_s)
        self._heard_s, self._sparing = now_s, True

    def seen(self, instance: str, roles: Collection[str], now_s: float) -> str | None:
        """`instance` is alive and serves exactly `roles`; returns who had to make way for it."""
        self.heard(now_s)
        self._prune(now_s)
        return self._believe(instance, _Belief(frozenset(roles), now_s + self._ttl_s))

    def found(self, instance: str, roles: Collection[str], now_s: float) -> str | None:
        """`instance` left word a while ago, when the router could not hear it: believed until it can be heard.

        Returns who had to make way for it.
        """
        known = self._instances.get(instance)
        if known is not None and known.until_s >= now_s + self._patience_s:
            return None
        return self._believe(instance, _Belief(frozenset(roles), now_s + self._patience_s, spared=True))

    def served(self, now_s: float) -> frozenset[str]:
        """The roles with a live worker at `now_s`."""
        self._notice_silence(now_s)
        since_s, until_s = self._served_s
        if not since_s <= now_s <= until_s:
            living = [each for each in self._instances.values() if now_s <= each.until_s]
            self._served = frozenset().union(*(each.roles for each in living))
            self._served_s = (now_s, min((each.until_s for each in living), default=inf))
        return self._served

    def instances(self, now_s: float) -> frozenset[str]:
        """Who is believed to be alive at `now_s`."""
        self._notice_silence(now_s)
        return frozenset(name for name, each in self._instances.items() if now_s <= each.until_s)

    def _believe(self, instance: str, belief: _Belief) -> str | None:
        self._served_s = (inf, -inf)
        if self._instances.pop(instance, None) is None:
            self._once[instance] = None
        else:
            self._once.pop(instance, None)
        self._instances[instance] = belief
        if len(self._instances) <= self._most:
            return None
        gone = next(iter(self._once if len(self._once) > 1 else self._instances))
        self._forget(gone)
        return gone

    def _prune(self, now_s: float) -> None:
        """Instances have new names at every start: those that died unannounced would pile up."""
        if now_s < self._prune_s:
            return
        self._prune_s = now_s + _PRUNED_EVERY_S
        for name in [name for name, each in self._instances.items() if now_s > each.until_s]:
            self._forget(name)

    def _forget(self, name: str) -> None:
        self._served_s = (inf, -inf)
        del self._instances[name]
        self._once.pop(name, None)

    def _notice_silence(self, now_s: float) -> None:
        if not self._sparing or now_s - self._heard_s <= self._silent_s:
            return
        self._sparing = False
        self._served_s = (inf, -inf)
        for name, each in self._instances.items():
            if each.until_s >= self._heard_s and not each.spared:
                until_s = max(each.until_s, now_s + self._patience_s)
                self._instances[name] = _Belief(each.roles, until_s, spared=True)
