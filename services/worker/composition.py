"""Constructs what all requests of a worker share, and the parts through which one message passes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from functools import partial

from msgspec import Struct

from penstock.bus.clock import loop_now_s
from penstock.contract.names import Role
from penstock.contract.streams import REPLIES
from penstock.runtime.accounting.usage_events import UsageEvents
from penstock.runtime.cancellation import CancellableRequests
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.guard import Guard
from penstock.runtime.guard.client import GuardClient
from penstock.runtime.guard.follower import GuardPolicies
from penstock.runtime.holds import HoldClient
from penstock.runtime.pricing import PriceTable
from penstock.runtime.redelivery.dead_request import DeadRequests
from penstock.runtime.redelivery.job_record import JobRecords
from penstock.runtime.redelivery.prior_attempts_reader import PriorAttemptsReader
from penstock.runtime.server_time_reader import FreshTime
from penstock.runtime.service import Bus, Shell
from services.worker.accounting.usage_recorder import UsageRecorder
from services.worker.announcer import Announcer
from services.worker.budget.hold_releases import HoldReleases
from services.worker.credentials.changes import CredentialChanges
from services.worker.credentials.keyring import Keyring
from services.worker.degradation.monitor import DegradationMonitor
from services.worker.embedding.batch import BatchRunner
from services.worker.embedding.batch_attempts import BatchAttempts
from services.worker.embedding.call import EmbeddingCalls
from services.worker.embedding.executor import EmbeddingExecutor
from services.worker.embedding.known_vectors import KnownVectors
from services.worker.embedding.learned import LearnedLimits
from services.worker.embedding.metrics import TextCounters
from services.worker.embedding.shared_texts import SharedTexts
from services.worker.embedding.vector_claims import VectorClaims
from services.worker.embedding.vector_store import VectorStore
from services.worker.estimates.service_times import ServiceTimes
from services.worker.estimates.token_calibration import TokenCalibration
from services.worker.execution.attempt import AttemptNumbers, Attempts
from services.worker.execution.attempt_usage import AttemptUsage
from services.worker.execution.chain_executor import ChainExecutor
from services.worker.execution.hold_raiser import HoldRaiser
from services.worker.execution.large_bodies import LargeBodies
from services.worker.execution.missing_counts import MissingCounts
from services.worker.execution.model_chains import ModelChains
from services.worker.execution.next_attempt import NextAttempt
from services.worker.execution.outcomes import Outcomes
from services.worker.execution.request_bodies import RequestBodies
from services.worker.execution.retrieval_step import PassageRetrieval
from services.worker.execution.run import Finisher, Runner, Starter
from services.worker.execution.selection import NeedEstimator, Selection
from services.worker.execution.time_limits import TimeLimits
from services.worker.guard.embed_guard import EmbedGuards
from services.worker.guard.guard_checks import GuardChecks
from services.worker.guard.request_guard import RequestGuards
from services.worker.handlers import WorkHandler
from services.worker.intake.hand_back import HandBackPolicy
from services.worker.intake.on_demand import ReportedRoles
from services.worker.intake.wait_queue import WaitQueue
from services.worker.metrics import WorkerMetrics, WorkerTelemetry
from services.worker.models.availability import Availability
from services.worker.models.peers import Peers
from services.worker.models.roster import Roster
from services.worker.pending_events import PendingEvents
from services.worker.providers.provider import Provider
from services.worker.quota_monitor.monitor import QuotaMonitor
from services.worker.rate_limit.quota import Quota, QuotaKey
from services.worker.redelivery.dead_letter import DeadLetters
from services.worker.replies.room import ReplyRoom
from services.worker.replies.stream_size import read_stream_size
from services.worker.retrieval.memory import ConversationMemory
from services.worker.retrieval.retriever import Retriever
from services.worker.retrieval.search_client import SearchClient
from services.worker.token_counting.counter import TokenCounter

__all__ = ["Connected", "ConnectedGuard", "Handling", "SharedState", "shared_state", "work_handler"]


class ConnectedGuard(Struct, frozen=True):
    """The guard, and the policies in force."""

    client: GuardClient
    policies: GuardPolicies


class Connected(Struct, frozen=True):
    """What has to be connected before the other parts can be constructed."""

    bus: Bus
    events: PendingEvents
    providers: Mapping[str, Provider]
    keys: Mapping[str, tuple[QuotaKey, ...]]
    """The quotas of each model."""
    quota: Quota
    peers: Peers
    waiting: WaitQueue
    reported: ReportedRoles
    counter: TokenCounter
    guard: ConnectedGuard | None
    """None: the catalogue has no guard."""
    presence_changed: asyncio.Event
    """Set to send the next heartbeat soon."""


class SharedState(Struct, frozen=True):
    """What all requests of a worker share, and what reports its changes."""

    telemetry: WorkerTelemetry
    availability: Availability
    announcer: Announcer
    prices: PriceTable
    recorder: UsageRecorder
    credential_changes: CredentialChanges
    outcomes: Outcomes
    quota_monitor: QuotaMonitor
    degradation: DegradationMonitor
    service_times: ServiceTimes
    hand_back: HandBackPolicy
    room: ReplyRoom


def shared_state(
    shell: Shell, catalogue: Catalogue, roles: Sequence[Role], keyring: Keyring, connected: Connected
) -> SharedState:
    providers, keys, quota = connected.providers, connected.keys, connected.quota
    metrics, prices = WorkerMetrics(shell.registry), PriceTable(catalogue.models)
    clock = shell.server_time.clock
    availability = Availability(catalogue, keys, quota, Roster(catalogue.models))
    announcer = Announcer(connected.events, catalogue, clock, shell.instance)
    credential_changes = CredentialChanges(
        keyring, providers, catalogue, availability.refusals, announcer, metrics
    )
    return SharedState(
        telemetry=WorkerTelemetry(metrics, shell.tracer, clock),
        availability=availability,
        announcer=announcer,
        prices=prices,
        recorder=UsageRecorder(
            connected.events, UsageEvents(catalogue, prices), metrics, clock, shell.instance
        ),
        credential_changes=credential_changes,
        outcomes=Outcomes(catalogue, availability, credential_changes, announcer, metrics),
        quota_monitor=QuotaMonitor(catalogue, keys, quota, metrics, roles),
        degradation=DegradationMonitor(catalogue, metrics),
        service_times=ServiceTimes(),
        hand_back=HandBackPolicy(connected.peers, shell.settings.max_deliver, connected.presence_changed.set),
        room=ReplyRoom(
            REPLIES.scaled(shell.settings.store_scale).max_bytes,
            partial(read_stream_size, connected.bus),
            lambda: connected.peers.workers(loop_now_s()),
            metrics,
        ),
    )


class Handling(Struct, frozen=True):
    """The handler of messages, and its parts that are started before it or observed."""

    handler: WorkHandler
    embedding: EmbeddingExecutor
    texts: SharedTexts
    """Stopped after everything is handled."""


def work_handler(
    shell: Shell,
    catalogue: Catalogue,
    connected: Connected,
    state: SharedState,
    prior_attempts: PriorAttemptsReader,
    cancellable: CancellableRequests,
) -> Handling:
    """The way of one message, from its check to its verdict."""
    bus, instance, clock = connected.bus, shell.instance, shell.server_time.clock
    job_records, bodies = JobRecords(bus, clock, instance), LargeBodies(bus)
    releases = HoldReleases(bus, clock, enabled=catalogue.budgets is not None)
    numbers = AttemptNumbers(job_records, clock, instance)
    chat, embed, texts = _executors(catalogue, connected, state, numbers, bodies)
    runner = Runner(
        Starter(
            catalogue, bus, state.quota_monitor, state.telemetry, _request_guards(catalogue, connected, state)
        ),
        {"chat": chat, "embed": embed},
        Finisher(
            state.recorder,
            job_records,
            state.service_times,
            bodies,
            state.telemetry,
            releases,
            ConversationMemory(bus, clock, state.telemetry.metrics.retrieval),
        ),
        cancellable,
        state.hand_back,
        state.telemetry,
        state.room,
    )
    dead_letters = DeadLetters(DeadRequests(bus, job_records, clock), state.telemetry.metrics, releases)
    handler = WorkHandler(
        catalogue,
        prior_attempts,
        job_records,
        state.recorder,
        runner,
        dead_letters,
        bodies,
        releases,
        FreshTime(bus.nc, shell.server_time),
        shell.settings.ack_wait_s,
    )
    return Handling(handler, embed, texts)


def _executors(
    catalogue: Catalogue,
    connected: Connected,
    state: SharedState,
    numbers: AttemptNumbers,
    bodies: LargeBodies,
) -> tuple[ChainExecutor, EmbeddingExecutor, SharedTexts]:
    """The steps of one chat request, from its chain to the provider call; and those of embed requests."""
    availability, degradation, calibration = state.availability, state.degradation, TokenCalibration()
    needs = NeedEstimator(degradation, calibration)
    providers = _providers_by_model(catalogue, connected)
    chains = ModelChains(catalogue, availability.provider_cooldown, random.random)
    selection = Selection(
        availability, needs, state.outcomes, state.quota_monitor, state.hand_back, connected.waiting
    )
    counts = MissingCounts(catalogue.models, state.prices, connected.counter)
    usage = AttemptUsage(catalogue, calibration, degradation, state.recorder, counts)
    time_limits, tracer = TimeLimits(state.hand_back), state.telemetry.tracer
    attempts = Attempts(providers, numbers, RequestBodies(catalogue, degradation), time_limits, usage, tracer)
    next_attempt = NextAttempt(catalogue, availability, random.random)
    raiser = _hold_raiser(catalogue, connected, state)
    chat = ChainExecutor(
        chains,
        selection,
        attempts,
        bodies,
        PassageRetrieval(catalogue, _retriever(catalogue, connected, state), bodies),
        state.outcomes,
        next_attempt,
        state.service_times,
        raiser,
    )
    batches = BatchRunner(
        chains,
        selection,
        EmbeddingCalls(catalogue, providers, LearnedLimits(catalogue)),
        BatchAttempts(numbers, state.recorder, state.service_times, raiser, tracer),
        state.outcomes,
        next_attempt,
        time_limits,
        calibration,
        state.telemetry.metrics.embedding,
        random.random,
    )
    metrics, nc = state.telemetry.metrics.embedding, connected.bus.nc
    store = VectorStore(nc, metrics)
    claims = VectorClaims(nc, store, numbers.instance)
    texts = SharedTexts(catalogue, batches, KnownVectors(store), claims, state.hand_back)
    counters = TextCounters(metrics, state.prices)
    guards = _embed_guards(catalogue, connected, state)
    return chat, EmbeddingExecutor(catalogue, bodies, selection, texts, counters, guards), texts


def _providers_by_model(catalogue: Catalogue, connected: Connected) -> dict[str, Provider]:
    """Of the models whose provider this worker can call."""
    return {
        key: connected.providers[model.provider]
        for key, model in catalogue.models.items()
        if model.provider in connected.providers
    }


def _request_guards(catalogue: Catalogue, connected: Connected, state: SharedState) -> RequestGuards | None:
    config, guard = catalogue.guard, connected.guard
    if config is None or guard is None:
        return None
    return RequestGuards(config, guard.policies.policy_of, _guard_checks(config, guard, state))


def _embed_guards(catalogue: Catalogue, connected: Connected, state: SharedState) -> EmbedGuards | None:
    config, guard = catalogue.guard, connected.guard
    if config is None or guard is None:
        return None
    return EmbedGuards(guard.policies.policy_of, _guard_checks(config, guard, state))


def _guard_checks(config: Guard, guard: ConnectedGuard, state: SharedState) -> GuardChecks:
    return GuardChecks(guard.client, config.wait_s, state.telemetry.tracer, state.telemetry.metrics.guard)


def _retriever(catalogue: Catalogue, connected: Connected, state: SharedState) -> Retriever | None:
    config = catalogue.retrieval
    if config is None:
        return None
    search, telemetry = SearchClient(connected.bus.nc, config.wait_s), state.telemetry
    return Retriever(search, config.memory, telemetry.tracer, telemetry.metrics.retrieval)


def _hold_raiser(catalogue: Catalogue, connected: Connected, state: SharedState) -> HoldRaiser | None:
    budgets = catalogue.budgets
    if budgets is None:
        return None
    return HoldRaiser(HoldClient(connected.bus.nc, budgets.ledger_wait_s), state.prices, budgets)
