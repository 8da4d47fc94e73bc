"""Who is alive, and when each role's quota lets the next request through: heard from the workers' presence."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final

import nats.errors
from nats.aio.client import Client as Nats

from penstock.bus.clock import Clock
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.deadlines import LONGEST_WAIT_S
from penstock.contract.presence import Presence as Beat
from penstock.runtime.heartbeat import read_recent_presence, watch_presence
from penstock.runtime.service import Bus
from services.router.admission.capacity import Capacity
from services.router.workers.membership import Presence

__all__ = ["Liveness"]

_log: Final = rate_limited_logger(__name__)
_PATIENCE_S: Final = 3.0
"""So long the bucket may take to be read after a reconnection."""
_PRUNED_EVERY_S: Final = 1.0
_ROUTER: Final = "router"
"""The service that says so in its beats."""
_ROUTER_S: Final = 6.0
"""Three beats."""
_MOST_ROUTERS: Final = 32
"""Whoever says to be one."""


class Liveness:
    """Beats of all workers and routers, folded into what the door and the sweep need to know."""

    def __init__(self, clock: Clock, capacity: Capacity, roles: Collection[str]) -> None:
        self._clock = clock
        self._capacity = capacity
        self._roles = frozenset(roles)
        self._presence = Presence()
        self._routers = Presence(ttl_s=_ROUTER_S, most=_MOST_ROUTERS)
        self._readings = 0
        """Of the bucket, that are under way."""
        self._ready_at_ms: dict[str, dict[str, int]] = {}
        """By instance, then by role; of instances that the presence still believes, or did a second ago."""
        self._prune_s = float("-inf")

    async def start(self, bus: Bus) -> None:
        self._nc: Nats = bus.nc
        await watch_presence(bus.nc, self._on_beat)
        for beat in await read_recent_presence(
            bus.nc
        ):  # who left a moment ago is as good as there, as for a router that saw it go
            self._on_beat(beat.instance, beat)
        bus.reconnects.add(self._read_again)

    def served(self, now_s: float) -> frozenset[str]:
        """While it is being found out, all: nobody is refused for what the router could not hear."""
        return self._roles if self._readings else self._presence.served(now_s)

    def routers(self) -> int:
        """How many are alive, this one included. One that stopped counts for a moment longer."""
        return max(1, len(self._routers.instances(self._clock.monotonic_s())))

    def retry_after_s(self, role: str) -> float | None:
        """When some worker of `role` expects to go on; None when nobody says, or it could go on now."""
        living = self._presence.instances(self._clock.monotonic_s())
        known = [self._ready_at_ms[name][role] for name in living if role in self._ready_at_ms.get(name, {})]
        if not known:
            return None
        wait_ms = min(min(known) - self._clock.unix_ms(), LONGEST_WAIT_S * 1000)
        return wait_ms / 1000 if wait_ms > 0 else None

    async def _read_again(self) -> None:
        """What was said while the connection was lost stands in the bucket."""
        self._readings += 1
        try:
            async with asyncio.timeout(_PATIENCE_S):
                beats = await read_recent_presence(self._nc)
        except (nats.errors.Error, TimeoutError) as error:
            _log.warning("who is alive cannot be read now: %r", error)
            beats = []
        finally:
            self._readings -= 1
        now_s = self._clock.monotonic_s()
        for beat in beats:
            if beat.roles:
                gone = self._presence.found(beat.instance, [status.role for status in beat.roles], now_s)
                self._take_up(beat.instance, beat, now_s, gone)

    def _on_beat(self, instance: str, beat: Beat | None) -> None:
        """A goodbye is not believed at once: mailboxes are durable, and a worker being restarted comes back."""
        now_s = self._clock.monotonic_s()
        self._presence.heard(now_s)
        if beat is not None and beat.service == _ROUTER:
            self._routers.seen(instance, (), now_s)
        if beat is None or not beat.roles:
            return
        gone = self._presence.seen(instance, [status.role for status in beat.roles], now_s)
        self._take_up(instance, beat, now_s, gone)

    def _take_up(self, instance: str, beat: Beat, now_s: float, gone: str | None) -> None:
        """`gone`: who made way for it."""
        try:
            self._capacity.heard(instance, beat, now_s)
        except Exception:  # noqa: BLE001 - it is alive, but its word is worth nothing; the others' are
            _log.exception("what %s says of itself cannot be taken up", instance)
            self._capacity.forget(instance)
        self._ready_at_ms[instance] = {status.role: status.ready_at_ms for status in beat.roles}
        if gone is not None:
            self._capacity.forget(gone)
            self._ready_at_ms.pop(gone, None)
        self._prune(now_s)

    def _prune(self, now_s: float) -> None:
        """Not at each beat: that would cost the square of their number."""
        if now_s < self._prune_s:
            return
        self._prune_s = now_s + _PRUNED_EVERY_S
        living = self._presence.instances(now_s)
        self._capacity.keep(living)
        for gone in self._ready_at_ms.keys() - living:
            del self._ready_at_ms[gone]
