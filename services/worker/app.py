"""The worker's composition root."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from math import inf
from typing import Final

from penstock.bus.clock import loop_now_s
from penstock.contract.names import LANES, Lane, Role
from penstock.contract.presence import Presence
from penstock.contract.streams import EVENTS, REPLIES, mailbox, mailboxes
from penstock.runtime.budgets.follower import BudgetFollower
from penstock.runtime.cancellation import CancellableRequests
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.consumer.mailbox import Mailbox, MailboxPolicy
from penstock.runtime.guard.client import GuardClient
from penstock.runtime.guard.follower import GuardPolicies
from penstock.runtime.heartbeat import Heartbeat, follow_presence
from penstock.runtime.pricing import PriceTable
from penstock.runtime.provisioning.ensure import (
    JetStreamPlan,
    ensure,
    ensure_consumers,
    ensure_eventually,
)
from penstock.runtime.provisioning.provisioned import provision
from penstock.runtime.redelivery.prior_attempts_reader import PriorAttemptsReader
from penstock.runtime.service import Bus, Shell
from services.worker.accounting.usage_recorder import UsageRecorder
from services.worker.composition import Connected, ConnectedGuard, shared_state, work_handler
from services.worker.credentials.keyring import Keyring, keys_by_provider
from services.worker.credentials.watch import KeyFileWatch
from services.worker.execution.state import cancelled
from services.worker.intake.on_demand import OnDemandMailboxes, ReportedRoles
from services.worker.intake.open_mailboxes import OpenMailboxes, start_all
from services.worker.intake.pull_gate import PullGate, RoleLane, batch_slots
from services.worker.intake.wait_queue import WaitQueue
from services.worker.models.peers import Peers
from services.worker.models.roster_watch import RosterWatch
from services.worker.pending_events import PendingEvents
from services.worker.providers.clients import connect_providers
from services.worker.quota_monitor.watch import QuotaWatch
from services.worker.rate_limit.quota import LocalQuota, Quota, QuotaKey
from services.worker.rate_limit.quota_keys import keys_of, limits_of, records_of
from services.worker.rate_limit.shared.nats_store import NatsRecordStore
from services.worker.rate_limit.shared.pause_events import PauseEvents
from services.worker.rate_limit.shared.replica import Member
from services.worker.rate_limit.shared.shared_quota import SharedQuota
from services.worker.status import CapacityReport, WorkerStatus
from services.worker.token_counting.counter import TokenCounter

__all__ = ["Worker"]

_EVENTS_S: Final = 3.0
"""Seconds left for storing events at the exit, however long the mailboxes took; a supervisor's grace period has to
include them (docs/configuration.md)."""


class Worker:
    """One mailbox per role and lane; those of the models in its chains are open while requests name them."""

    def __init__(self, shell: Shell, catalogue: Catalogue, roles: Sequence[Role], keyring: Keyring) -> None:
        self._shell = shell
        self._catalogue = catalogue
        self._roles = roles
        self._on_demand = tuple(each for each in catalogue.implicit_roles_of(roles) if each not in roles)
        """The implicit roles of the models in the chains."""
        self._plan = JetStreamPlan.of(shell.settings, roles)
        self._keyring = keyring
        self._mailboxes = OpenMailboxes(catalogue.all_roles, roles, catalogue.kind_of)
        self._started = AsyncExitStack()
        self._drained_by_s = inf

    async def start(self, bus: Bus, http: str) -> None:
        connected = await self._connect(bus)
        await self._started.enter_async_context(self._shell.writing(bus, REPLIES, EVENTS))
        served = (*self._roles, *self._on_demand)
        parts = _Parts(self._shell, self._catalogue, served, self._keyring, connected)
        self._started.push_async_callback(self._drain_events, connected.events, parts.recorder)
        self._started.push_async_callback(parts.key_watch.stop)
        parts.key_watch.start()
        await self._follow_prices(bus, parts.prices)
        await parts.prior_attempts.start()
        await parts.cancellable.start()
        self._started.push_async_callback(parts.roster_watch.stop)
        await parts.roster_watch.start()
        self._started.push_async_callback(parts.texts.stop)
        parts.texts.start()
        self._started.push_async_callback(self._drain_mailboxes)
        for role in self._roles:
            self._mailboxes.by_role[role] = await self._started_mailboxes(bus, parts, connected.waiting, role)
        on_demand = self._on_demand_mailboxes(parts, connected)
        self._started.push_async_callback(on_demand.stop)
        on_demand.start()
        self._started.push_async_callback(parts.quota_watch.stop)
        await parts.quota_watch.start()
        heartbeat = Heartbeat(
            bus.nc,
            lambda: parts.status.presence(self._mailboxes.by_role, http),
            connected.presence_changed,
            server_time=self._shell.server_time,
        )
        self._started.push_async_callback(heartbeat.stop)
        await heartbeat.start()

    async def _follow_prices(self, bus: Bus, prices: PriceTable) -> None:
        """With budgets, use the prices that are set while the worker runs."""
        if self._catalogue.budgets is None:
            return
        follower = BudgetFollower(
            bus.nc, bus.connection_events, lambda found: prices.override(found.prices.values())
        )
        self._started.push_async_callback(follower.stop)
        await follower.start()

    async def drain(self) -> None:
        """Stop in the reverse order of the start: pull nothing more, finish or return requests, store events."""
        self._drained_by_s = loop_now_s() + self._shell.settings.drain_s
        await self._started.aclose()

    async def _connect(self, bus: Bus) -> Connected:
        catalogue = self._catalogue
        providers = connect_providers(
            catalogue.providers,
            keys_by_provider(catalogue, (*self._roles, *self._on_demand), self._keyring),
        )
        for provider in providers.values():
            self._started.push_async_callback(provider.close)
        counter = TokenCounter()
        self._started.push_async_callback(counter.stop)
        await provision(bus, self._plan, self._shell.server_time)
        changed = asyncio.Event()
        waiting = WaitQueue(changed.set, self._mailboxes.wake)
        keys = keys_of(catalogue, {name: provider.credentials for name, provider in providers.items()})
        quota = await self._start_quota(bus, keys, waiting)
        peers, reported = Peers(catalogue, self._shell.instance), ReportedRoles(self._on_demand)

        def observe(instance: str, presence: Presence | None) -> None:
            peers.observe(instance, presence, loop_now_s())
            reported.observe(presence, loop_now_s())

        await follow_presence(bus.nc, observe, ("worker.*", "router.*"))
        return Connected(
            bus=bus,
            events=PendingEvents(bus.js),
            providers=providers,
            keys=keys,
            quota=quota,
            peers=peers,
            waiting=waiting,
            reported=reported,
            counter=counter,
            guard=await self._connect_guard(bus),
            presence_changed=changed,
        )

    async def _connect_guard(self, bus: Bus) -> ConnectedGuard | None:
        config = self._catalogue.guard
        if config is None:
            return None
        guard = ConnectedGuard(GuardClient(bus.nc), GuardPolicies(bus.nc, bus.connection_events, config))
        self._started.push_async_callback(guard.client.stop)
        await guard.client.start()
        self._started.push_async_callback(guard.policies.stop)
        await guard.policies.start()
        return guard

    async def _start_quota(
        self, bus: Bus, keys: Mapping[str, tuple[QuotaKey, ...]], waiting: WaitQueue
    ) -> Quota:
        limits = limits_of(self._catalogue, keys)
        records = records_of(self._catalogue, limits)
        if self._shell.settings.quota != "shared":
            return LocalQuota(limits, records, batch=self._catalogue.batch)
        member = Member(
            self._shell.instance,
            random.random,
            self._shell.server_time.unix_s,
            waiting.wake,
            self._mailboxes.queued,
        )
        store = NatsRecordStore(bus.nc, bus.js, partial(ensure, bus.js, self._plan))
        shared = SharedQuota(limits, records, member, store, batch=self._catalogue.batch)
        await store.watch(shared.observe)
        self._started.push_async_callback(shared.stop)
        await shared.start()
        pauses = PauseEvents(
            bus.nc, bus.js, self._shell.instance, shared.apply_pause, self._shell.server_time.clock
        )
        await pauses.start(shared.unlimited_models)
        return shared

    async def _drain_events(self, events: PendingEvents, recorder: UsageRecorder) -> None:
        """Store events in the time that the mailboxes left, at least `_EVENTS_S`: without JetStream the exit would
        otherwise take a minute.
        """
        give_up_s = loop_now_s() + max(_EVENTS_S, self._drained_by_s - loop_now_s())
        await events.drain(give_up_s - loop_now_s())
        await recorder.drain(give_up_s - loop_now_s())

    async def _drain_mailboxes(self) -> None:
        await self._mailboxes.drain(self._shell.settings.drain_s)

    def _on_demand_mailboxes(self, parts: _Parts, connected: Connected) -> OnDemandMailboxes:
        bus, settings = connected.bus, self._shell.settings

        async def open_(role: Role) -> list[Mailbox]:
            await ensure_consumers(bus.js, mailboxes([role]), settings.ack_wait_s)
            return await self._started_mailboxes(bus, parts, connected.waiting, role)

        return OnDemandMailboxes(
            connected.reported,
            self._mailboxes.by_role,
            open_,
            drain_s=settings.drain_s,
            on_open=connected.presence_changed.set,
        )

    async def _started_mailboxes(
        self, bus: Bus, parts: _Parts, waiting: WaitQueue, role: Role
    ) -> list[Mailbox]:
        boxes = self._mailboxes_of(bus, parts, waiting, role)
        await start_all(boxes, bus.connection_events, self._shell.settings.drain_s)
        return boxes

    def _mailboxes_of(self, bus: Bus, parts: _Parts, waiting: WaitQueue, role: Role) -> list[Mailbox]:
        """The interactive mailbox of the role, and the batch mailbox."""
        config, kind = self._catalogue.all_roles[role], self._catalogue.kind_of(role)
        lanes: dict[Lane, RoleLane] = {lane: RoleLane.of(role, lane, config, kind) for lane in LANES}
        settings = self._shell.settings
        plan = JetStreamPlan.of(settings, {*self._roles, role})

        def make(lane: Lane, slots: Callable[[], int]) -> Mailbox:
            role_lane = lanes[lane]
            gate = PullGate(role_lane, parts.availability, parts.quota_monitor, parts.hand_back, waiting)
            policy = MailboxPolicy(
                slots=role_lane.slots,
                ack_wait_s=settings.ack_wait_s,
                max_deliver=settings.max_deliver,
                gate=gate.closed_s,
                usable_slots=lambda: min(
                    slots(),
                    gate.at_most(made.running),
                    self._mailboxes.usable_slots(role, lane),
                    made.running if kind == "embed" and parts.embedding.is_full else role_lane.slots,
                ),
            )
            made = Mailbox(
                bus.nc,
                mailbox(role, lane),
                policy,
                handle=parts.handler.handle,
                dead_letter=parts.handler.dead_letter,
                repair=partial(ensure_eventually, bus.js, plan),
            )
            return made

        interactive = make("interactive", lambda: lanes["interactive"].slots)

        def slots_of_batch() -> int:
            running = interactive.running
            return batch_slots(lanes["batch"].slots, interactive=lanes["interactive"].slots, running=running)

        return [interactive, make("batch", slots_of_batch)]


class _Parts:
    """The parts that `Worker` starts, stops or connects."""

    def __init__(
        self,
        shell: Shell,
        catalogue: Catalogue,
        roles: Sequence[Role],
        keyring: Keyring,
        connected: Connected,
    ) -> None:
        bus, settings, clock = connected.bus, shell.settings, shell.server_time.clock
        state = shared_state(shell, catalogue, roles, keyring, connected)
        self.availability = state.availability
        self.prices = state.prices
        self.recorder = state.recorder
        self.quota_monitor = state.quota_monitor
        self.hand_back = state.hand_back
        self.key_watch = KeyFileWatch(
            keyring, settings, state.credential_changes, clock, connected.waiting.wake
        )
        self.roster_watch = RosterWatch(
            connected.providers, state.availability.roster, state.outcomes.announce_roster_change
        )
        self.quota_watch = QuotaWatch(state.quota_monitor, state.announcer, clock)
        self.cancellable = CancellableRequests(bus, cancelled)
        self.prior_attempts = PriorAttemptsReader(bus, settings.ack_wait_s)
        handling = work_handler(shell, catalogue, connected, state, self.prior_attempts, self.cancellable)
        self.handler, self.embedding, self.texts = handling.handler, handling.embedding, handling.texts
        self.status = WorkerStatus(
            CapacityReport(
                shell.instance,
                catalogue,
                state.availability,
                state.degradation,
                state.service_times,
                state.telemetry.metrics,
            ),
            state.room,
            state.credential_changes,
            state.quota_monitor,
            clock,
            catalogue.digest(),
        )
