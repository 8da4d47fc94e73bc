"""Which roles have a live worker, from what the workers say of themselves."""

from __future__ import annotations

from collections.abc import Collection

__all__ = ["Presence"]


class Presence:
    """Worker instances and their roles, each believed for `ttl_s` after it was last seen.

    Times are monotonic seconds of the router, never of the worker: their clocks may differ.
    """

    def __init__(self, ttl_s: float = 20) -> None:
        self._ttl_s = ttl_s
        self._instances: dict[str, tuple[frozenset[str], float]] = {}

    def seen(self, instance: str, roles: Collection[str], now_s: float) -> None:
        """`instance` is alive and serves exactly `roles`."""
        # Instances have new names at every start: those that died unannounced would pile up.
        self._instances = {
            name: (served, seen_s)
            for name, (served, seen_s) in self._instances.items()
            if now_s - seen_s <= self._ttl_s
        }
        self._instances[instance] = (frozenset(roles), now_s)

    def served(self, now_s: float) -> frozenset[str]:
        """The roles with a live worker at `now_s`."""
        return frozenset().union(*self._live(now_s))

    def instances(self, now_s: float) -> frozenset[str]:
        """Who is believed to be alive at `now_s`."""
        return frozenset(
            name for name, (_, seen_s) in self._instances.items() if now_s - seen_s <= self._ttl_s
        )

    def _live(self, now_s: float) -> list[frozenset[str]]:
        return [roles for roles, seen_s in self._instances.values() if now_s - seen_s <= self._ttl_s]
