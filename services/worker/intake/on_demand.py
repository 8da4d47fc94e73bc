"""The mailboxes of implicit roles: open only while a router reports the role as in use (decision 0025)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Final

import nats.errors

from penstock.bus.clock import loop_now_s
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.names import Role
from penstock.contract.presence import Presence
from penstock.runtime.aio import CriticalLoop
from penstock.runtime.consumer.mailbox import Mailbox

__all__ = ["OnDemandMailboxes", "ReportedRoles"]

_log: Final = rate_limited_logger(__name__)
_UNUSED_S: Final = 10.0
"""Seconds after a router's last report of a role from which on it is unused. A router that has just started reports
none before it has counted the mailboxes."""


class ReportedRoles:
    """Which of `roles` routers report as in use. Times are the event loop's.

    Routers repeat it in every heartbeat, so a lost one delays a request by one heartbeat.
    """

    def __init__(self, roles: Collection[Role]) -> None:
        self._roles = frozenset(roles)
        self._reported_s: dict[Role, float] = {}
        self.due = asyncio.Event()
        """Set by each heartbeat of a router while some role was in use lately: what is open may have to change."""

    def observe(self, heartbeat: Presence | None, now_s: float) -> None:
        """Take the heartbeat of a worker or router; None: it stopped."""
        if heartbeat is None or heartbeat.service != "router":
            return
        self._reported_s |= dict.fromkeys(self._roles.intersection(heartbeat.roles_in_use), now_s)
        if self._reported_s:
            self.due.set()

    def used(self, now_s: float) -> frozenset[Role]:
        return frozenset(role for role, at_s in self._reported_s.items() if now_s < at_s + _UNUSED_S)

    def unused(self, now_s: float) -> frozenset[Role]:
        """The roles that were in use, and are not any more."""
        return frozenset(self._reported_s) - self.used(now_s)

    def forget(self, role: Role) -> None:
        """The mailboxes of `role` are closed."""
        del self._reported_s[role]


class OnDemandMailboxes:
    """Opens and closes the mailboxes of the reported roles. Without a router's heartbeats nothing is closed."""

    def __init__(
        self,
        reported: ReportedRoles,
        mailboxes: MutableMapping[Role, list[Mailbox]],
        open_: Callable[[Role], Awaitable[list[Mailbox]]],
        *,
        drain_s: float,
        on_open: Callable[[], None],
    ) -> None:
        """`mailboxes`: the open ones of this worker, also those of other roles. `open_`: start those of a role."""
        self._reported = reported
        self._mailboxes = mailboxes
        self._open = open_
        self._drain_s = drain_s
        self._on_open = on_open
        self._opening: dict[Role, asyncio.Task[None]] = {}
        self._closing: dict[Role, asyncio.Task[None]] = {}
        self._loop = CriticalLoop("mailboxes on demand")

    def start(self) -> None:
        self._loop.start(self._run())

    async def stop(self) -> None:
        """Open and close nothing more. Mailboxes that are open stay so."""
        await self._loop.stop()
        for opening in self._opening.values():
            opening.cancel()
        await asyncio.gather(*self._opening.values(), *self._closing.values(), return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._reported.due.wait()
            self._reported.due.clear()
            try:
                self._open_and_close(loop_now_s())
            except Exception:  # noqa: BLE001 - logged, and repeated at the next heartbeat
                _log.exception("the mailboxes on demand are considered again at the next heartbeat")

    def _open_and_close(self, now_s: float) -> None:
        for role in self._reported.used(now_s) - self._mailboxes.keys() - self._opening.keys():
            self._opening[role] = asyncio.create_task(self._open_role(role))
        for role in self._reported.unused(now_s) - self._opening.keys():
            self._close_if_idle(role)

    async def _open_role(self, role: Role) -> None:
        try:
            self._mailboxes[role] = await self._open(role)
            self._on_open()
        except (nats.errors.Error, TimeoutError) as error:
            _log.warning("the mailboxes of the role %s cannot be opened now: %r", role, error)
        except Exception:  # noqa: BLE001 - logged, and repeated at the next heartbeat
            _log.exception("the mailboxes of the role %s cannot be opened now", role)
        finally:
            del self._opening[role]

    def _close_if_idle(self, role: Role) -> None:
        boxes = self._mailboxes.get(role)
        if boxes is None:
            self._reported.forget(role)
        elif role not in self._closing and not any(box.running for box in boxes):
            self._closing[role] = asyncio.create_task(self._close(role, boxes))

    async def _close(self, role: Role, boxes: list[Mailbox]) -> None:
        """A message that arrives meanwhile is finished, or returned to the server as at the end of a worker."""
        try:
            ended = await asyncio.gather(*(box.drain(self._drain_s) for box in boxes), return_exceptions=True)
        finally:
            del self._mailboxes[role], self._closing[role]
        for error in ended:
            if isinstance(error, Exception):
                _log.error("a mailbox of the role %s did not end in order", role, exc_info=error)
        self._reported.due.set()
