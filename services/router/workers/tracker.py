"""Tracks live workers and routers by their heartbeats, and when each role's quota allows the next request."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import nats.errors

from penstock.bus.clock import Clock
from penstock.bus.freezes import AwakeTimeout
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.presence import Presence
from penstock.contract.request import LONGEST_WAIT_S
from penstock.runtime.heartbeat import read_recent_presence, watch_presence
from penstock.runtime.membership import Membership
from penstock.runtime.service import Bus
from services.router.admission.capacity import Capacity
from services.router.replies.stored_replies import StoredReplies

__all__ = ["WorkerTracker"]

_log: Final = rate_limited_logger(__name__)
_TIMEOUT_S: Final = 3.0
"""Seconds that reading the presence bucket after a reconnection may take."""
_PRUNED_EVERY_S: Final = 1.0
_ROUTER: Final = "router"
"""The `service` in the heartbeats of routers."""
_FOLLOWED: Final = ("worker.*", "indexer.*", f"{_ROUTER}.*")
"""The heartbeats of what serves roles, and of routers, this one included."""
_ROUTER_TTL_S: Final = 6.0
"""Seconds that a router counts as alive: three heartbeats."""
_MOST_ROUTERS: Final = 32
"""Upper bound on routers, against forged heartbeats."""


class WorkerTracker:
    """Folds the heartbeats of workers, indexers and routers into the state that admission and the sweep read."""

    def __init__(
        self, bus: Bus, capacity: Capacity, roles: Collection[str], replies: StoredReplies, clock: Clock
    ) -> None:
        self._bus = bus
        self._replies = replies
        self._clock = clock
        self._capacity = capacity
        self._roles = frozenset(roles)
        self._workers = Membership()
        self._routers = Membership(ttl_s=_ROUTER_TTL_S, most=_MOST_ROUTERS)
        self._reads_in_progress = 0
        """Reads of the presence bucket in progress."""
        self._prune_s = float("-inf")

    async def start(self) -> None:
        await watch_presence(self._bus.nc, self._on_heartbeat, _FOLLOWED)
        # A worker that stopped a moment ago counts, as it does for a router that saw it stop.
        for presence in await read_recent_presence(self._bus.nc):
            self._on_heartbeat(presence.instance, presence)
        self._bus.connection_events.add_reconnect_listener(self._read_after_reconnect)

    def served(self, now_s: float) -> frozenset[str]:
        """Roles with a live worker. All roles while the bucket is read after a reconnection: this router may have
        missed heartbeats.
        """
        return self._roles if self._reads_in_progress else self._workers.served(now_s)

    def routers(self) -> int:
        """The number of live routers, this one included. A stopped one counts for some seconds longer."""
        return max(1, len(self._routers.instances(self._clock.monotonic_s())))

    def is_first(self, instance: str) -> bool:
        """Whether this router has the lowest name of all live ones."""
        return instance <= min(self._routers.instances(self._clock.monotonic_s()), default=instance)

    def retry_after_s(self, role: str) -> float | None:
        """Seconds until some worker of `role` expects to continue; None if none reports it, or one could now."""
        ready_at_ms = self._capacity.ready_at_ms(role)
        if ready_at_ms is None:
            return None
        wait_ms = min(ready_at_ms - self._clock.unix_ms(), LONGEST_WAIT_S * 1000)
        return wait_ms / 1000 if wait_ms > 0 else None

    async def _read_after_reconnect(self) -> None:
        """Read the heartbeats that were stored while the connection was lost."""
        self._reads_in_progress += 1
        try:
            async with AwakeTimeout(_TIMEOUT_S):
                found = await read_recent_presence(self._bus.nc)
        except (nats.errors.Error, TimeoutError) as error:
            _log.warning("the presence bucket cannot be read now: %r", error)
            found = []
        finally:
            self._reads_in_progress -= 1
        now_s = self._clock.monotonic_s()
        for presence in found:
            if presence.roles:
                roles = [status.role for status in presence.roles]
                displaced = self._workers.record_stored(presence.instance, roles, now_s)
                self._observe(presence.instance, presence, now_s, displaced)

    def _on_heartbeat(self, instance: str, presence: Presence | None) -> None:
        """None: the instance says that it stops. It is kept until it expires: mailboxes are durable, and a worker
        that is being restarted comes back.
        """
        now_s = self._clock.monotonic_s()
        self._workers.record_activity(now_s)
        if presence is not None and presence.service == _ROUTER:
            self._routers.record_heartbeat(instance, (), now_s)
        if presence is None or not presence.roles:
            return
        roles = [status.role for status in presence.roles]
        displaced = self._workers.record_heartbeat(instance, roles, now_s)
        self._observe(instance, presence, now_s, displaced)

    def _observe(self, instance: str, presence: Presence, now_s: float, displaced: str | None) -> None:
        """`displaced`: the member that was dropped for this one."""
        self._replies.observe(instance, presence.replies, now_s)
        try:
            self._capacity.observe(instance, presence, now_s)
        except Exception:  # noqa: BLE001 - the worker is alive, only its figures are unusable
            _log.exception("the heartbeat of %s is not usable", instance)
            self._capacity.forget(instance)
        if displaced is not None:
            self._capacity.forget(displaced)
        self._prune(now_s)

    def _prune(self, now_s: float) -> None:
        """Once a second: at each heartbeat it would cost the square of the number of workers."""
        if now_s < self._prune_s:
            return
        self._prune_s = now_s + _PRUNED_EVERY_S
        self._capacity.retain(self._workers.instances(now_s))
