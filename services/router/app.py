"""The router's composition root: every part is constructed here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from penstock.contract.presence import Presence
from penstock.contract.streams import INTAKE, INTAKE_BATCH, INTAKE_INTERACTIVE, JOBS, REPLIES, REQUESTS, WORK
from penstock.runtime.accounting.usage_events import UsageEvents
from penstock.runtime.budgets.follower import BudgetFollower
from penstock.runtime.cancellation import Cancellations
from penstock.runtime.config.accounts import weight_of
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.consumer.mailbox import Mailbox, MailboxPolicy
from penstock.runtime.consumer.queue_scheduler import QueueScheduler
from penstock.runtime.heartbeat import Heartbeat
from penstock.runtime.holds import HoldClient
from penstock.runtime.pricing import PriceTable
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure_eventually
from penstock.runtime.provisioning.provisioned import provisioned
from penstock.runtime.server_time_reader import FreshTime
from penstock.runtime.service import Bus, Shell
from services.router.admission.capacity import Capacity
from services.router.admission.controller import AdmissionController
from services.router.admission.gate import AdmissionGate
from services.router.budget.estimate import CostEstimator
from services.router.budget.gate import BudgetGate
from services.router.budget.releases import NO_HOLDS, HoldReleases, Releases
from services.router.budget.wait_slots import MOST_WAITING
from services.router.classification.topic_client import TopicClient
from services.router.decision import Decision
from services.router.expiry.lost_usage import LostUsage
from services.router.expiry.request_end import RequestEnder
from services.router.expiry.sweeper import Sweeper
from services.router.expiry.termination import Terminator
from services.router.explain import ExplainHandler
from services.router.handlers import Gates, RequestHandler, RouterTelemetry
from services.router.intake.rates import IntakeRates, limits_intake
from services.router.jobs.orphan_reaper import OrphanReaper
from services.router.jobs.recorder import JobRecorder
from services.router.metrics import RouterMetrics
from services.router.queues.backlog import Backlog
from services.router.queues.backlog_poller import BacklogPoller
from services.router.queues.byte_limits import ByteLimits
from services.router.queues.roles_in_use import RolesInUse
from services.router.rejection import Rejecter
from services.router.replies.retention import ReplyRetention
from services.router.replies.stored_replies import StoredReplies
from services.router.routing.decide import decide
from services.router.routing.inbound import InboundRequest
from services.router.routing.outcome import BodyNeeded, Rejected, Routed
from services.router.workers.tracker import WorkerTracker

__all__ = ["Router"]

_PULLED: Final = 320
"""Request events in memory from queues known to hold more; each other queue may add `POLL_BATCH`."""
_PULLED_BYTES: Final = 64 * 1024 * 1024
"""The same in bytes."""


class Router:
    def __init__(self, shell: Shell, catalogue: Catalogue) -> None:
        self._shell = shell
        self._catalogue = catalogue
        self._catalogue_digest = catalogue.digest()
        self._metrics = RouterMetrics(shell.registry)
        self._clock = shell.server_time.clock
        self._started = AsyncExitStack()

    async def start(self, bus: Bus, http: str) -> None:
        """Provision JetStream, then start the parts in the order in which they need each other."""
        plan = JetStreamPlan.of(self._shell.settings, self._catalogue.mailboxes, routes=True)
        await self._started.enter_async_context(provisioned(bus, plan, self._shell))
        await self._started.enter_async_context(
            self._shell.writing(bus, REQUESTS, REPLIES, busy=[WORK, JOBS])
        )
        catalogue, metrics = self._catalogue, self._metrics
        capacity = Capacity(catalogue.all_roles, catalogue.batch)
        known_roles = {*catalogue.all_roles, *catalogue.mailboxes}
        stored_replies = StoredReplies()
        tracker = WorkerTracker(bus, capacity, known_roles, stored_replies, self._clock)
        backlog = Backlog()
        presence_changed = asyncio.Event()
        in_use = RolesInUse(catalogue.implicit_roles, backlog, presence_changed, self._clock)
        limits = ByteLimits(backlog)
        poller = BacklogPoller(bus, backlog, limits, self._clock, tracker.routers)
        weight = partial(weight_of, accounts=catalogue.accounts)
        gate = AdmissionGate(
            AdmissionController(capacity, backlog, self._clock, weight), limits, poller, in_use
        )

        def decide_now(inbound: InboundRequest) -> Routed | Rejected | BodyNeeded:
            served = tracker.served(self._clock.monotonic_s())
            return decide(inbound, catalogue, served, int(self._clock.steady_ms(inbound.stored_ms)))

        await tracker.start()
        cancellations = Cancellations(bus.nc)
        await cancellations.start(bus.connection_events)
        releases = self._start_releases(bus)
        prices = await self._follow_prices(bus)
        ender = RequestEnder(bus, releases, self._start_lost_usage(bus, prices), self._clock)
        fresh = FreshTime(bus.nc, self._shell.server_time)
        terminator = Terminator(bus, known_roles, cancellations, tracker, metrics, ender)
        sweeper = Sweeper(bus, catalogue, poller, terminator, metrics, fresh)
        self._started.push_async_callback(sweeper.stop)
        sweeper.start()
        await self._start_retention(bus, stored_replies, tracker)
        reaper = OrphanReaper(bus, ender, self._clock)
        self._started.push_async_callback(reaper.stop)
        reaper.start()
        topics = TopicClient(bus.nc, self._clock, metrics) if catalogue.classifies else None
        decision = Decision(decide_now, fresh.read, self._shell.server_time.is_ambiguous, topics)
        await ExplainHandler(bus, decision, gate, catalogue, self._clock).start()
        recorder = JobRecorder(bus, self._clock)
        telemetry = RouterTelemetry(metrics, self._shell.tracer)
        rejecter = Rejecter(bus, recorder, releases)
        gates = Gates(gate, self._budget_gate(bus, releases, prices), self._intake_rates(tracker))
        handler = RequestHandler(bus, decision, gates, recorder, rejecter, telemetry)
        await self._start_mailbox(bus, handler, partial(ensure_eventually, bus.js, plan))
        heartbeat = Heartbeat(
            bus.nc,
            lambda: self._presence(http, in_use),
            presence_changed,
            server_time=self._shell.server_time,
        )
        self._started.push_async_callback(heartbeat.stop)
        await heartbeat.start()

    async def _start_retention(self, bus: Bus, stored_replies: StoredReplies, tracker: WorkerTracker) -> None:
        is_first = partial(tracker.is_first, self._shell.instance)
        retention = ReplyRetention(bus, stored_replies, is_first, self._metrics)
        self._started.push_async_callback(retention.stop)
        await retention.start()

    async def drain(self) -> None:
        """Stop the parts in reverse order."""
        await self._started.aclose()

    def _start_releases(self, bus: Bus) -> Releases:
        """Without budgets nothing is ever held."""
        if self._catalogue.budgets is None:
            return NO_HOLDS
        releases = HoldReleases(bus, self._metrics, self._clock)
        self._started.push_async_callback(releases.stop)
        releases.start()
        return releases

    async def _follow_prices(self, bus: Bus) -> PriceTable:
        """The prices of the catalogue; with budgets also those that are set while the router runs."""
        prices = PriceTable(self._catalogue.models)
        if self._catalogue.budgets is not None:
            follower = BudgetFollower(
                bus.nc, bus.connection_events, lambda found: prices.override(found.prices.values())
            )
            self._started.push_async_callback(follower.stop)
            await follower.start()
        return prices

    def _start_lost_usage(self, bus: Bus, prices: PriceTable) -> LostUsage:
        lost_usage = LostUsage(bus, self._catalogue, UsageEvents(self._catalogue, prices), self._clock)
        self._started.push_async_callback(lost_usage.stop)
        lost_usage.start()
        return lost_usage

    def _budget_gate(self, bus: Bus, releases: Releases, prices: PriceTable) -> BudgetGate | None:
        budgets = self._catalogue.budgets
        if budgets is None:
            return None
        client = HoldClient(bus.nc, budgets.ledger_wait_s, MOST_WAITING)
        estimator = CostEstimator(self._catalogue, prices)
        return BudgetGate(client, estimator, budgets, releases, self._metrics, self._shell.tracer)

    def _intake_rates(self, tracker: WorkerTracker) -> IntakeRates | None:
        accounts, every_account = self._catalogue.accounts, self._catalogue.every_account
        if not limits_intake(accounts, every_account):
            return None
        return IntakeRates(accounts, every_account, tracker.routers, self._clock)

    async def _start_mailbox(
        self, bus: Bus, handler: RequestHandler, provision: Callable[[], Awaitable[None]]
    ) -> None:
        settings = self._shell.settings
        policy = MailboxPolicy(
            slots=_PULLED,
            ack_wait_s=settings.ack_wait_s,
            max_deliver=settings.max_deliver,
            most_bytes=_PULLED_BYTES,
            scheduler=QueueScheduler(len(INTAKE_INTERACTIVE), len(INTAKE_BATCH)),
        )
        mailbox = Mailbox(
            bus.nc,
            INTAKE,
            policy,
            handle=handler.handle,
            dead_letter=handler.dead_letter,
            repair=provision,
        )
        self._started.push_async_callback(mailbox.drain, settings.drain_s)
        await mailbox.start(bus.connection_events)

    def _presence(self, http: str, in_use: RolesInUse) -> Presence:
        return Presence(
            service=self._shell.service,
            instance=self._shell.instance,
            at_ms=self._clock.unix_ms(),
            http=http,
            catalogue=self._catalogue_digest,
            roles_in_use=in_use.report(),
        )
