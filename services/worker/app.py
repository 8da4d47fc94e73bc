"""The worker's composition root."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from math import inf
from typing import Final

from penstock.bus.clock import SYSTEM, loop_now_s
from penstock.contract.names import Lane, Role
from penstock.contract.streams import mailbox
from penstock.runtime.config.catalogue import Catalogue, Limits
from penstock.runtime.consumer.mailbox import Mailbox, MailboxPolicy
from penstock.runtime.heartbeat import Heartbeat, follow_presence
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure, ensure_eventually
from penstock.runtime.service import Bus, Shell
from services.worker.accounting.usage_recorder import Recorder
from services.worker.announcer import Announcer
from services.worker.credentials.changes import KeyNews
from services.worker.credentials.keyring import Keyring
from services.worker.credentials.quota_keys import keys_of, limits_of, records_of
from services.worker.credentials.watch import KeyWatch
from services.worker.degradation.monitor import Degrading
from services.worker.estimates.service_times import Pace
from services.worker.estimates.token_calibration import Calibration
from services.worker.execution.cancellation import Running
from services.worker.execution.equipment import Equipment
from services.worker.execution.handover import Handover
from services.worker.execution.ladder import Ladder
from services.worker.execution.outcomes import Lessons
from services.worker.execution.run import Serving
from services.worker.execution.wait_queue import Waiting
from services.worker.handlers import WorkHandler
from services.worker.intake.lanes import batch_slots
from services.worker.intake.pull_gate import PullGate
from services.worker.intake.queue_depths import Queued
from services.worker.metrics import WorkerMetrics
from services.worker.models.availability import Availability
from services.worker.models.peers import Peers
from services.worker.models.roster import Roster
from services.worker.models.roster_watch import ModelsWatch
from services.worker.providers.clients import connect_providers
from services.worker.providers.protocol import Provider
from services.worker.quota_monitor.monitor import Tiers
from services.worker.quota_monitor.watch import TierWatch
from services.worker.rate_limit.quota import LocalQuota, Quota, QuotaKey
from services.worker.rate_limit.shared.nats_store import RecordStore
from services.worker.rate_limit.shared.shared_quota import SharedQuota
from services.worker.redelivery.dead_letter import Burying
from services.worker.redelivery.job_record import Background
from services.worker.redelivery.prior_attempts import Takeover
from services.worker.status import describe

__all__ = ["Worker"]

_FACTS_S: Final = 3.0
"""Left to the facts, however long the mailboxes took; a supervisor's grace has to hold it (docs/configuration.md)."""


class Worker:
    """Everything a worker is made of; one mailbox per role and lane."""

    def __init__(self, shell: Shell, catalogue: Catalogue, roles: Sequence[Role], keyring: Keyring) -> None:
        self._shell = shell
        self._catalogue = catalogue
        self._roles = roles
        self._plan = JetStreamPlan(
            roles=tuple(roles),
            ack_wait_s=shell.settings.ack_wait_s,
            replicas=shell.settings.replicas,
            store_scale=shell.settings.store_scale,
        )
        self._keyring = keyring
        self._queued = Queued(catalogue)
        self._started = AsyncExitStack()
        self._drained_by_s = inf

    async def start(self, bus: Bus, http: str) -> None:
        waiting = Waiting()
        providers = connect_providers(self._catalogue, self._roles, self._keyring)
        for provider in providers.values():
            self._started.push_async_callback(provider.close)
        await ensure_eventually(bus.js, self._plan)
        quota = await self._start_quota(bus, providers, waiting)
        peers = Peers(self._catalogue, self._shell.instance)
        await follow_presence(bus.nc, lambda name, beat: peers.heard(name, beat, loop_now_s()))
        equipment = self._equipment(bus, providers, quota, Handover(peers, self._shell.settings.max_deliver))
        self._started.push_async_callback(self._drain_facts, equipment)
        handler = await self._start_handler(bus, equipment, waiting)
        mailboxes = {role: self._boxes(bus, equipment, handler, waiting, role) for role in self._roles}
        self._started.push_async_callback(self._drain_mailboxes, mailboxes)
        for boxes in mailboxes.values():
            for box in boxes:
                waiting.on_wake(box.wake)
                await box.start(bus.reconnects)
        tier_watch = TierWatch(equipment)
        self._started.push_async_callback(tier_watch.stop)
        await tier_watch.start()
        heartbeat = Heartbeat(bus.nc, lambda: describe(equipment, mailboxes, http))
        waiting.on_wait(heartbeat.soon)
        equipment.handover.on_return(heartbeat.soon)
        self._started.push_async_callback(heartbeat.stop)
        await heartbeat.start()

    async def drain(self) -> None:
        """Stop what was started, the last first: pull nothing more, finish or give back what runs, tell the rest."""
        self._drained_by_s = loop_now_s() + self._shell.settings.drain_s
        await self._started.aclose()

    async def _start_quota(self, bus: Bus, providers: Mapping[str, Provider], waiting: Waiting) -> Quota:
        limits = limits_of(self._catalogue, providers)
        if self._shell.settings.quota != "shared":
            return LocalQuota(limits, records_of(self._catalogue, limits), batch=self._catalogue.batch)
        shared = _shared_quota(self._catalogue, limits, self._shell.instance)
        shared.set_backlog(self._queued.behind)
        records = RecordStore(bus.nc, bus.js, partial(ensure, bus.js, self._plan))
        await records.watch(shared.observe)
        self._started.push_async_callback(shared.stop)
        await shared.start(records, waiting.wake)
        return shared

    def _equipment(
        self, bus: Bus, providers: Mapping[str, Provider], quota: Quota, handover: Handover
    ) -> Equipment:
        catalogue = self._catalogue
        keys = keys_of(catalogue, {name: provider.credentials for name, provider in providers.items()})
        metrics = WorkerMetrics(self._shell.registry)
        availability = Availability(catalogue, keys, quota, Roster(catalogue.models))
        return Equipment(
            instance=self._shell.instance,
            catalogue=catalogue,
            providers=providers,
            availability=availability,
            handover=handover,
            keyring=self._keyring,
            calibration=Calibration(),
            degrading=Degrading(catalogue, metrics),
            tiers=Tiers(catalogue, keys, quota, metrics, self._roles),
            recorder=Recorder(bus.js, catalogue, metrics, SYSTEM, self._shell.instance),
            announcer=Announcer(bus.js),
            pace=Pace(),
            background=Background(bus, SYSTEM, self._shell.instance),
            metrics=metrics,
            tracer=self._shell.tracer,
            clock=SYSTEM,
            random=random.random,
        )

    async def _start_handler(self, bus: Bus, equipment: Equipment, waiting: Waiting) -> WorkHandler:
        settings = self._shell.settings
        key_news = KeyNews(equipment, waiting.wake)
        keys = KeyWatch(self._keyring, settings, key_news)
        self._started.push_async_callback(keys.stop)
        keys.start()
        lessons = Lessons(equipment, key_news)
        ladder = Ladder(equipment, lessons, waiting)
        takeover, running = Takeover(bus, settings.ack_wait_s), Running(bus)
        await takeover.start()
        await running.start()
        models = ModelsWatch(equipment, lessons)
        self._started.push_async_callback(models.stop)
        await models.start()
        serving = Serving(bus, equipment, ladder, running)
        return WorkHandler(equipment, takeover, serving, Burying(bus, equipment))

    async def _drain_facts(self, equipment: Equipment) -> None:
        """In the time that the mailboxes left, and always a little: without JetStream an exit would wait a minute."""
        within_s = max(_FACTS_S, self._drained_by_s - loop_now_s())
        await asyncio.gather(equipment.recorder.drain(within_s), equipment.announcer.drain(within_s))

    async def _drain_mailboxes(self, mailboxes: Mapping[Role, list[Mailbox]]) -> None:
        grace_s = self._shell.settings.drain_s
        await asyncio.gather(*(box.drain(grace_s) for boxes in mailboxes.values() for box in boxes))

    def _boxes(
        self, bus: Bus, equipment: Equipment, handler: WorkHandler, waiting: Waiting, role: Role
    ) -> list[Mailbox]:
        config = self._catalogue.roles[role]
        settings = self._shell.settings

        def box(lane: Lane, slots: int, at_most: Callable[[], int]) -> Mailbox:
            gate = PullGate(equipment, waiting, role, lane)
            policy = MailboxPolicy(
                slots=slots,
                ack_wait_s=settings.ack_wait_s,
                max_deliver=settings.max_deliver,
                gate=gate.closed_s,
                at_most=lambda: min(at_most(), gate.at_most(made.running)),
            )
            made = Mailbox(
                bus.nc,
                mailbox(role, lane),
                policy,
                handle=handler.handle,
                dead_letter=handler.bury,
                repair=partial(ensure_eventually, bus.js, self._plan),
            )
            return made

        interactive = box("interactive", config.concurrency, lambda: config.concurrency)
        self._queued.add(role, interactive)
        batch = box(
            "batch",
            config.batch_concurrency,
            lambda: batch_slots(
                config.batch_concurrency, interactive=config.concurrency, running=interactive.running
            ),
        )
        return [interactive, batch]


def _shared_quota(catalogue: Catalogue, limits: Mapping[QuotaKey, Limits], instance: str) -> SharedQuota:
    return SharedQuota(limits, records_of(catalogue, limits), instance, random.random, batch=catalogue.batch)
