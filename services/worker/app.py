"""The worker's composition root."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from msgspec.structs import replace

from penstock.clock import SYSTEM
from penstock.config.catalogue import Catalogue, Limits
from penstock.heartbeat import Heartbeat
from penstock.mailbox import Mailbox, MailboxPolicy
from penstock.provisioning import ensure, ensure_eventually
from penstock.service import Bus, Shell
from schemas import subjects
from schemas.names import Lane, Role
from schemas.streams import mailbox
from services.worker.announcing import Announcer
from services.worker.availability import Availability
from services.worker.background import Background
from services.worker.calibration import Calibration
from services.worker.degrading import Degrading
from services.worker.equipment import Equipment
from services.worker.handlers import WorkHandler
from services.worker.key_news import KeyNews
from services.worker.key_watch import KeyWatch
from services.worker.keyring import Keyring
from services.worker.ladder import Ladder
from services.worker.lanes import batch_slots
from services.worker.lease_store import RecordStore
from services.worker.lessons import Lessons
from services.worker.metrics import WorkerMetrics
from services.worker.models_watch import ModelsWatch
from services.worker.pace import Pace
from services.worker.provider import Provider
from services.worker.providers import connect_providers
from services.worker.quota import LocalQuota, Quota, QuotaKey
from services.worker.recording import Recorder
from services.worker.shared_quota import SharedQuota
from services.worker.status import describe
from services.worker.takeover import Takeover
from services.worker.tier_watch import TierWatch
from services.worker.tiers import Tiers
from services.worker.waiting import Waiting
from services.worker.withdrawn import Roster

__all__ = ["Worker"]

_WAITING_S: Final = 1.0
"""While half of a role's slots wait the mailbox looks again this often; it is woken when something is given back."""


class Worker:
    """Everything a worker is made of; one mailbox per role and lane."""

    def __init__(self, shell: Shell, catalogue: Catalogue, roles: Sequence[Role], keyring: Keyring) -> None:
        self._shell = shell
        self._catalogue = catalogue
        self._roles = roles
        self._keyring = keyring
        self._started = AsyncExitStack()

    async def start(self, bus: Bus, http: str) -> None:
        settings = self._shell.settings
        providers = connect_providers(self._catalogue, self._roles, self._keyring)
        limits = _limits(self._catalogue, providers)
        shared = None
        if settings.quota == "shared":
            shared = _shared_quota(self._catalogue, limits, self._shell.instance)
        quota = shared or LocalQuota(limits, _records(self._catalogue, limits), batch=self._catalogue.batch)
        equipment = _equipment(self._shell, self._catalogue, self._roles, providers, quota, self._keyring)
        self._equipment = equipment
        self._waiting = Waiting()
        key_news = KeyNews(equipment, self._waiting.wake)
        lessons = Lessons(equipment, key_news)
        keys = KeyWatch(self._keyring, settings, key_news)
        ladder = Ladder(equipment, lessons, self._waiting)
        self._handler = WorkHandler(equipment, ladder, Takeover(settings.ack_wait_s))
        models = ModelsWatch(equipment, lessons)

        async def provision() -> None:
            await ensure_eventually(
                bus.js,
                roles=self._roles,
                ack_wait_s=settings.ack_wait_s,
                replicas=settings.replicas,
            )

        await provision()
        if shared is not None:
            await self._start_shared(shared, bus)
        equipment.announcer.bind(bus.js)
        equipment.recorder.bind(bus.js)
        equipment.background.bind(bus)
        for provider in equipment.providers.values():
            self._started.push_async_callback(provider.close)
        self._started.push_async_callback(equipment.announcer.drain)
        self._started.push_async_callback(equipment.recorder.drain)
        self._started.push_async_callback(keys.stop)
        keys.start()
        await self._handler.start(bus)
        self._started.push_async_callback(models.stop)
        await models.start()
        mailboxes = {role: self._boxes(bus, role, provision) for role in self._roles}
        self._started.push_async_callback(self._drain_mailboxes, mailboxes)
        for boxes in mailboxes.values():
            for box in boxes:
                self._waiting.on_wake(box.poke)
                await box.start(bus.reconnects)
        tier_watch = TierWatch(equipment)
        self._started.push_async_callback(tier_watch.stop)
        await tier_watch.start()
        heartbeat = Heartbeat(bus.nc, lambda: describe(equipment, mailboxes, http))
        self._waiting.on_wait(heartbeat.soon)
        self._started.push_async_callback(heartbeat.stop)
        await heartbeat.start()

    async def _start_shared(self, quota: SharedQuota, bus: Bus) -> None:
        settings = self._shell.settings

        async def repair() -> None:
            await ensure(
                bus.js,
                roles=self._roles,
                ack_wait_s=settings.ack_wait_s,
                replicas=settings.replicas,
            )

        records = RecordStore(bus.nc, bus.js, repair)
        await records.watch(quota.heard)
        self._started.push_async_callback(quota.stop)
        await quota.start(records, self._waiting.wake)

    async def drain(self) -> None:
        """Stop what was started, the last first: pull nothing more, finish or give back what runs, tell the rest."""
        await self._started.aclose()

    async def _drain_mailboxes(self, mailboxes: Mapping[Role, list[Mailbox]]) -> None:
        grace_s = self._shell.settings.drain_s
        await asyncio.gather(*(box.drain(grace_s) for boxes in mailboxes.values() for box in boxes))

    def _boxes(self, bus: Bus, role: Role, provision: Callable[[], Awaitable[None]]) -> list[Mailbox]:
        config = self._catalogue.roles[role]
        settings = self._shell.settings
        policy = MailboxPolicy(
            slots=config.concurrency,
            ack_wait_s=settings.ack_wait_s,
            max_deliver=settings.max_deliver,
            gate=partial(self._gate_s, role, "interactive"),
        )

        def box(lane: Lane, policy: MailboxPolicy) -> Mailbox:
            return Mailbox(
                bus.nc,
                mailbox(role, lane),
                policy,
                handle=self._handler.handle,
                bury=self._handler.bury,
                repair=provision,
            )

        interactive = box("interactive", policy)

        def batch_may_use() -> int:
            return batch_slots(
                config.batch_concurrency, interactive=config.concurrency, running=interactive.running
            )

        batch = box(
            "batch",
            replace(
                policy,
                slots=config.batch_concurrency,
                at_most=batch_may_use,
                gate=partial(self._gate_s, role, "batch"),
            ),
        )
        return [interactive, batch]

    def _gate_s(self, role: Role, lane: Lane) -> float:
        """Work that finds no quota stays in the mailbox."""
        now_s = asyncio.get_running_loop().time()
        if self._waiting.number(role) >= max(1, self._catalogue.roles[role].concurrency // 2):
            wait_s = _WAITING_S
        else:
            wait_s = self._equipment.availability.opens_in_s(self._catalogue.roles[role].chain, now_s, lane)
        if lane == "interactive":
            self._equipment.tiers.gate(role, wait_s, now_s)
        return wait_s


def _limits(catalogue: Catalogue, providers: Mapping[str, Provider]) -> dict[QuotaKey, Limits]:
    return {
        QuotaKey(credential, name): model.limits
        for name, model in catalogue.models.items()
        if model.provider in providers
        for credential in providers[model.provider].credentials
    }


def _shared_quota(catalogue: Catalogue, limits: Mapping[QuotaKey, Limits], instance: str) -> SharedQuota:
    return SharedQuota(limits, _records(catalogue, limits), instance, random.random, batch=catalogue.batch)


def _records(catalogue: Catalogue, keys: Iterable[QuotaKey]) -> dict[QuotaKey, str]:
    """One record per model, as its provider calls it, and credential, or group of them."""
    records = {}
    for key in keys:
        group = catalogue.providers[catalogue.models[key.model].provider].quota_group
        owner = key.credential if group is None else f"group:{group}"
        records[key] = subjects.quota_key(owner, catalogue.model_name(key.model))
    return records


def _equipment(
    shell: Shell,
    catalogue: Catalogue,
    roles: Sequence[Role],
    providers: dict[str, Provider],
    quota: Quota,
    keyring: Keyring,
) -> Equipment:
    names = {name: provider.credentials for name, provider in providers.items()}
    metrics = WorkerMetrics(shell.registry)
    availability = Availability(catalogue, names, quota, Roster(catalogue.models))
    return Equipment(
        instance=shell.instance,
        catalogue=catalogue,
        providers=providers,
        availability=availability,
        keyring=keyring,
        calibration=Calibration(),
        degrading=Degrading(catalogue, metrics),
        tiers=Tiers(catalogue, availability, metrics, roles),
        recorder=Recorder(catalogue, metrics, SYSTEM, shell.instance),
        announcer=Announcer(SYSTEM),
        pace=Pace(),
        background=Background(SYSTEM, shell.instance),
        metrics=metrics,
        tracer=shell.tracer,
        clock=SYSTEM,
        random=random.random,
    )
