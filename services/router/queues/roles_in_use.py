"""Which implicit roles have work, as the router's heartbeat says: workers pull from their mailboxes only then."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final

from penstock.bus.clock import Clock
from penstock.contract.names import Role
from services.router.queues.backlog import Backlog

__all__ = ["RolesInUse"]

_KEPT_S: Final = 30.0
"""Seconds after its last work during which a role counts as in use, so that the next request finds its mailbox open."""


class RolesInUse:
    """Roles with work in a mailbox now or a moment ago, from the counts of the mailboxes and what was enqueued since.

    Each heartbeat repeats them, so that a worker which starts, or did not receive one, knows them from the next.
    """

    def __init__(
        self, implicit: Collection[Role], backlog: Backlog, changed: asyncio.Event, clock: Clock
    ) -> None:
        """`changed`: set to send the next heartbeat soon."""
        self._implicit = frozenset(implicit)
        self._backlog = backlog
        self._changed = changed
        self._clock = clock
        self._last_s: dict[Role, float] = {}
        self._announced: frozenset[Role] = frozenset()

    def record_enqueued(self, role: Role) -> None:
        """Work of `role` is stored in its mailbox."""
        if role not in self._implicit:
            return
        self._last_s[role] = self._clock.monotonic_s()
        if role not in self._announced:
            self._changed.set()

    def report(self) -> tuple[Role, ...]:
        """The roles in use, which count as announced from now on."""
        now_s = self._clock.monotonic_s()
        self._last_s |= dict.fromkeys(self._backlog.roles() & self._implicit, now_s)
        self._last_s = {role: last_s for role, last_s in self._last_s.items() if now_s < last_s + _KEPT_S}
        self._announced = frozenset(self._last_s)
        return tuple(sorted(self._announced))
