"""Who is alive, and when each role's quota lets the next request through: heard from the workers' presence."""

from __future__ import annotations

from penstock.clock import Clock
from penstock.heartbeat import lately, watch_presence
from penstock.service import Bus
from schemas.presence import Presence as Beat
from services.router.capacity import Capacity
from services.router.presence import Presence

__all__ = ["Liveness"]


class Liveness:
    """Beats of all workers, folded into what the door and the sweep need to know."""

    def __init__(self, clock: Clock, capacity: Capacity) -> None:
        self._clock = clock
        self._capacity = capacity
        self._presence = Presence()
        self._ready_at_ms: dict[str, dict[str, int]] = {}
        """By instance, then by role; only of instances that the presence still believes."""

    async def start(self, bus: Bus) -> None:
        await watch_presence(bus.nc, self._on_beat)
        for beat in await lately(
            bus.nc
        ):  # who left a moment ago is as good as there, as for a router that saw it go
            self._on_beat(beat.instance, beat)

    def served(self, now_s: float) -> frozenset[str]:
        return self._presence.served(now_s)

    def retry_after_s(self, role: str) -> float | None:
        """When some worker of `role` expects to go on; None when nobody says, or it could go on now."""
        living = self._presence.instances(self._clock.monotonic_s())
        known = [self._ready_at_ms[name][role] for name in living if role in self._ready_at_ms.get(name, {})]
        if not known:
            return None
        wait_s = (min(known) - self._clock.unix_ms()) / 1000
        return wait_s if wait_s > 0 else None

    def _on_beat(self, instance: str, beat: Beat | None) -> None:
        """A goodbye is not believed at once: mailboxes are durable, and a worker being restarted comes back."""
        if beat is None or not beat.roles:
            return
        now_s = self._clock.monotonic_s()
        self._presence.seen(instance, [status.role for status in beat.roles], now_s)
        self._ready_at_ms[instance] = {status.role: status.ready_at_ms for status in beat.roles}
        self._capacity.heard(instance, beat, now_s)
        living = self._presence.instances(now_s)
        self._capacity.keep(living)
        for gone in self._ready_at_ms.keys() - living:
            del self._ready_at_ms[gone]
