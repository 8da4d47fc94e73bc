"""The router's composition root."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial

from penstock.bus.clock import SYSTEM
from penstock.contract.presence import Presence
from penstock.contract.streams import ROUTER
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.consumer.mailbox import Mailbox, MailboxPolicy
from penstock.runtime.heartbeat import Heartbeat
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure_eventually
from penstock.runtime.provisioning.reconciler import Reconciler
from penstock.runtime.service import Bus, Shell
from services.router.admission.capacity import Capacity
from services.router.admission.controller import Door
from services.router.admission.gate import Entrance
from services.router.expiry.sweeper import Sweeper
from services.router.explain import register_explain
from services.router.handlers import RequestHandler
from services.router.metrics import RouterMetrics
from services.router.queues.backlog import Backlog
from services.router.queues.backlog_poller import Counting
from services.router.queues.byte_limits import Room
from services.router.workers.tracker import Liveness

__all__ = ["Router"]

_SLOTS = 128


class Router:
    """Everything the router is made of."""

    def __init__(self, shell: Shell, catalogue: Catalogue) -> None:
        self._shell = shell
        self._catalogue = catalogue
        self._catalogue_digest = catalogue.digest()
        capacity = Capacity(catalogue.roles, catalogue.batch)
        self._liveness = Liveness(SYSTEM, capacity, catalogue.roles)
        metrics = RouterMetrics(shell.registry)
        backlog = Backlog()
        door = Door(capacity, backlog, SYSTEM)
        room = Room(backlog)
        self._counting = Counting(backlog, room, SYSTEM, self._liveness.routers)
        entrance = Entrance(door, room, self._counting)
        self._handler = RequestHandler(catalogue, self._liveness, entrance, metrics, shell.tracer, SYSTEM)
        self._sweeper = Sweeper(catalogue.roles, self._liveness, backlog, self._counting, metrics, SYSTEM)
        self._started = AsyncExitStack()
        register_explain(shell.broker, catalogue, self._liveness, entrance, SYSTEM)

    async def start(self, bus: Bus, http: str) -> None:
        settings = self._shell.settings

        plan = JetStreamPlan(
            roles=tuple(self._catalogue.roles),
            ack_wait_s=settings.ack_wait_s,
            replicas=settings.replicas,
            store_scale=settings.store_scale,
        )
        provision = partial(ensure_eventually, bus.js, plan)
        await provision()
        reconciler = Reconciler(bus.js, plan)
        self._shell.healthy_while(lambda: reconciler.succeeded)
        self._started.push_async_callback(reconciler.stop)
        reconciler.start()
        self._counting.bind(bus)
        self._handler.bind(bus)
        await self._liveness.start(bus)
        self._started.push_async_callback(self._sweeper.stop)
        await self._sweeper.start(bus)
        policy = MailboxPolicy(slots=_SLOTS, ack_wait_s=settings.ack_wait_s, max_deliver=settings.max_deliver)
        mailbox = Mailbox(
            bus.nc,
            [ROUTER],
            policy,
            handle=self._handler.handle,
            dead_letter=self._handler.bury,
            repair=provision,
        )
        self._started.push_async_callback(mailbox.drain, settings.drain_s)
        await mailbox.start(bus.reconnects)
        heartbeat = Heartbeat(bus.nc, lambda: self._presence(http))
        self._started.push_async_callback(heartbeat.stop)
        await heartbeat.start()

    async def drain(self) -> None:
        """Stop what was started, the last first."""
        await self._started.aclose()

    def _presence(self, http: str) -> Presence:
        return Presence(
            service=self._shell.service,
            instance=self._shell.instance,
            at_ms=SYSTEM.unix_ms(),
            http=http,
            catalogue=self._catalogue_digest,
        )
