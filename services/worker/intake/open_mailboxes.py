"""The mailboxes that a worker has open, by role, and the slots that those of implicit roles share."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Final

from penstock.bus.connection import ConnectionEvents
from penstock.contract.names import LANES, Kind, Lane, Role
from penstock.runtime.config.catalogue import RoleConfig
from penstock.runtime.consumer.mailbox import Mailbox
from services.worker.intake.pull_gate import RoleLane

__all__ = ["OpenMailboxes", "start_all"]

_LEAST_SLOTS: Final = 4
"""Slots that each implicit role may use however many the others do, so that an exhausted model stops no other."""


async def start_all(boxes: Sequence[Mailbox], events: ConnectionEvents, drain_s: float) -> None:
    """Start all mailboxes of a role, or none: after an error or a cancellation those that were started are drained."""
    async with AsyncExitStack() as started:
        for box in boxes:
            started.push_async_callback(box.drain, drain_s)
            await box.start(events)
        started.pop_all()


class OpenMailboxes:
    """The interactive mailbox and the batch mailbox of each role."""

    def __init__(
        self,
        roles: Mapping[Role, RoleConfig],
        own: Sequence[Role],
        kind_of: Callable[[Role], Kind] = lambda _: "chat",
    ) -> None:
        """`roles`: all of the catalogue. `own`: those that this worker was started for; others are opened on demand."""
        self._roles = roles
        self._own = frozenset(own)
        self._slots = {
            lane: sum(RoleLane.of(role, lane, roles[role], kind_of(role)).slots for role in own)
            for lane in LANES
        }
        self.by_role: dict[Role, list[Mailbox]] = {}

    def queued(self, models: frozenset[str]) -> dict[str, int]:
        """Requests that wait in the interactive mailboxes of the roles that use `models`, by role: batch work takes
        what quota is left, and no share of its own.
        """
        return {
            role: boxes[0].queued
            for role, boxes in self.by_role.items()
            if not models.isdisjoint(self._roles[role].chain)
        }

    def usable_slots(self, role: Role, lane: Lane) -> int:
        """Slots that `role` may use of its own: roles on demand have together no more than the worker's own roles."""
        if role in self._own:
            return sys.maxsize
        index = LANES.index(lane)
        used = sum(
            boxes[index].running
            for other, boxes in self.by_role.items()
            if other != role and other not in self._own
        )
        return max(_LEAST_SLOTS, self._slots[lane] - used)

    def wake(self) -> None:
        for boxes in self.by_role.values():
            for box in boxes:
                box.wake()

    async def drain(self, grace_s: float) -> None:
        await asyncio.gather(*(box.drain(grace_s) for boxes in self.by_role.values() for box in boxes))
