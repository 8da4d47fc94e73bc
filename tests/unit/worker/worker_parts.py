"""The parts of a worker without a server, for tests of what it decides before anything is sent."""

from __future__ import annotations

import json
from functools import cached_property, partial
from typing import Any

from msgspec import Raw
from nats.aio.client import Client as Nats
from prometheus_client import CollectorRegistry

from penstock.bus.clock import SYSTEM, loop_now_s
from penstock.bus.connection import ConnectionEvents
from penstock.bus.tracing import NO_SPAN, NO_TRACER
from penstock.contract.events import UsageRecorded
from penstock.contract.names import Kind, Lane
from penstock.contract.presence import Presence, RoleStatus
from penstock.contract.streams import REPLIES
from penstock.contract.work import ChatWork
from penstock.runtime.accounting.usage_events import AttemptRecord, UsageEvents
from penstock.runtime.config.catalogue import Catalogue, Limits, Model, ProviderConfig, RoleConfig
from penstock.runtime.epochs import DeliveryEpochs
from penstock.runtime.pricing import PriceTable
from penstock.runtime.redelivery.job_record import JobRecords
from penstock.runtime.service import Bus
from services.worker.accounting.usage_recorder import UsageRecorder
from services.worker.announcer import Announcer
from services.worker.credentials.changes import CredentialChanges
from services.worker.credentials.keyring import Keyring
from services.worker.degradation.monitor import DegradationMonitor
from services.worker.degradation.shorten import RequestSize
from services.worker.estimates.service_times import ServiceTimes
from services.worker.estimates.token_calibration import TokenCalibration
from services.worker.execution.attempt import AttemptNumbers, Attempts
from services.worker.execution.attempt_usage import AttemptUsage
from services.worker.execution.chain_executor import ChainExecutor
from services.worker.execution.large_bodies import LargeBodies
from services.worker.execution.missing_counts import MissingCounts
from services.worker.execution.model_chains import ModelChains
from services.worker.execution.next_attempt import NextAttempt
from services.worker.execution.outcomes import Outcomes
from services.worker.execution.request_bodies import RequestBodies
from services.worker.execution.retrieval_step import PassageRetrieval
from services.worker.execution.run import Starter
from services.worker.execution.selection import NeedEstimator, Selection
from services.worker.execution.state import Execution
from services.worker.execution.time_limits import TimeLimits
from services.worker.intake.hand_back import HandBackPolicy
from services.worker.intake.pull_gate import PullGate, RoleLane
from services.worker.intake.wait_queue import WaitQueue
from services.worker.metrics import WorkerMetrics, WorkerTelemetry
from services.worker.models.availability import Availability
from services.worker.models.peers import Peers
from services.worker.models.roster import Roster
from services.worker.pending_events import PendingEvents
from services.worker.quota_monitor.monitor import QuotaMonitor
from services.worker.rate_limit.quota import LocalQuota, QuotaKey
from services.worker.rate_limit.quota_keys import keys_of
from services.worker.replies.room import ReplyRoom
from services.worker.replies.stream_size import read_stream_size
from services.worker.status import CapacityReport, WorkerStatus
from tests.harness.requests.routed_requests import chat_work


class AmpleRoom:
    """A reply that never has to wait for room."""

    waits_for_room = False

    def take_room(self, size: int) -> bool:
        return size >= 0

    async def wait_for_room(self, size: int) -> None: ...

    def sends_at_once(self) -> bool:
        return False


NAMES = ("A_KEY", "B_KEY", "C_KEY")


def bus_apart() -> Bus:
    """A bus whose client is not connected."""
    nc = Nats()
    return Bus(nc, nc.jetstream(), ConnectionEvents(), DeliveryEpochs(nc))


def usage_events_of(catalogue: Catalogue) -> UsageEvents:
    return UsageEvents(catalogue, PriceTable(catalogue.models))


class UnstoredUsage:
    """Keeps the records instead of storing their events."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._events = usage_events_of(catalogue)
        self.records: list[AttemptRecord] = []

    def record(self, work: ChatWork, record: AttemptRecord, *_: Any) -> UsageRecorded:
        self.records.append(record)
        return self._events.of(work, record, at_ms=1, worker="w")


class Endpoint:
    """A provider that is not called."""

    name = "p"
    rate_limit_headers = "openai"

    def __init__(self, credentials: tuple[str, ...]) -> None:
        self.credentials = credentials


def ignore() -> None:
    """A callback of a part that is tested alone."""


class RecordingAnnouncer(Announcer):
    """Keeps the events instead of storing them."""

    def __init__(self, catalogue: Catalogue) -> None:
        super().__init__(PendingEvents(bus_apart().js), catalogue, SYSTEM, "w")
        self.events: list[Any] = []

    def announce(self, event: Any) -> None:
        self.events.append(event)


class WorkerParts:
    """`names`: the credentials of every model. `provider` and `recorder` replace what is there otherwise."""

    def __init__(
        self,
        catalogue: Catalogue,
        names: tuple[str, ...] = NAMES,
        *,
        provider: Any = None,
        recorder: Any = None,
    ) -> None:
        self.catalogue = catalogue
        self.bus = bus_apart()
        self.providers: dict[str, Any] = dict.fromkeys(catalogue.providers, provider or Endpoint(names))
        models = catalogue.models
        limits = {QuotaKey(name, model): models[model].limits for name in names for model in models}
        self.quota = LocalQuota(limits, batch=catalogue.batch)
        keys = keys_of(catalogue, dict.fromkeys(catalogue.providers, names))
        self.metrics = WorkerMetrics(CollectorRegistry())
        self.telemetry = WorkerTelemetry(self.metrics, NO_TRACER, SYSTEM)
        self.availability = Availability(catalogue, keys, self.quota, Roster(models))
        self.peers = Peers(catalogue, "w")
        self.hand_back = HandBackPolicy(self.peers, 5, ignore)
        self.waiting = WaitQueue(ignore, ignore)
        self.calibration = TokenCalibration()
        self.degradation = DegradationMonitor(catalogue, self.metrics)
        self.quota_monitor = QuotaMonitor(catalogue, keys, self.quota, self.metrics, catalogue.roles)
        self.service_times = ServiceTimes()
        self.announcer = RecordingAnnouncer(catalogue)
        self.recorder: UsageRecorder = recorder or UsageRecorder(
            PendingEvents(self.bus.js), usage_events_of(catalogue), self.metrics, SYSTEM, "w"
        )
        self.keyring = Keyring(names, dict.fromkeys(names, "secret"), {}, {}, 90)

    @cached_property
    def credential_changes(self) -> CredentialChanges:
        refusals = self.availability.refusals
        return CredentialChanges(
            self.keyring, self.providers, self.catalogue, refusals, self.announcer, self.metrics
        )

    @cached_property
    def room(self) -> ReplyRoom:
        return ReplyRoom(REPLIES.max_bytes, partial(read_stream_size, self.bus.nc), lambda: 1, self.metrics)

    @cached_property
    def outcomes(self) -> Outcomes:
        return Outcomes(
            self.catalogue, self.availability, self.credential_changes, self.announcer, self.metrics
        )

    @cached_property
    def selection(self) -> Selection:
        needs = NeedEstimator(self.degradation, self.calibration)
        return Selection(
            self.availability, needs, self.outcomes, self.quota_monitor, self.hand_back, self.waiting
        )

    @cached_property
    def time_limits(self) -> TimeLimits:
        return TimeLimits(self.hand_back)

    @cached_property
    def attempts(self) -> Attempts:
        models = self.catalogue.models
        return Attempts(
            {name: self.providers[model.provider] for name, model in self.catalogue.models.items()},
            AttemptNumbers(JobRecords(self.bus, SYSTEM, "w"), SYSTEM, "w"),
            RequestBodies(self.catalogue, self.degradation),
            self.time_limits,
            AttemptUsage(
                self.catalogue,
                self.calibration,
                self.degradation,
                self.recorder,
                MissingCounts(models, PriceTable(models), None),
            ),
            NO_TRACER,
        )

    @cached_property
    def next_attempt(self) -> NextAttempt:
        return NextAttempt(self.catalogue, self.availability, lambda: 0.5)

    def chain_executor(
        self, attempts: Any = None, bodies: LargeBodies | None = None, hold_raiser: Any = None
    ) -> ChainExecutor:
        return ChainExecutor(
            ModelChains(self.catalogue, self.availability.provider_cooldown, lambda: 0.5),
            self.selection,
            attempts or self.attempts,
            bodies or LargeBodies(self.bus),
            PassageRetrieval(self.catalogue, None, bodies or LargeBodies(self.bus)),
            self.outcomes,
            self.next_attempt,
            self.service_times,
            hold_raiser,
        )

    def starter(self) -> Starter:
        return Starter(self.catalogue, self.bus, self.quota_monitor, self.telemetry, None)

    def gate(self, lane: Lane, kind: Kind = "chat") -> PullGate:
        role_lane = RoleLane.of("chat", lane, self.catalogue.roles["chat"], kind)
        return PullGate(role_lane, self.availability, self.quota_monitor, self.hand_back, self.waiting)

    def status(self) -> WorkerStatus:
        return WorkerStatus(
            CapacityReport(
                "w", self.catalogue, self.availability, self.degradation, self.service_times, self.metrics
            ),
            self.room,
            self.credential_changes,
            self.quota_monitor,
            SYSTEM,
            self.catalogue.digest(),
        )

    def hear_other_worker(self, **about: Any) -> None:
        """A heartbeat of another worker for the role `chat`; `about`: its further fields."""
        role = RoleStatus(role="chat", slots=8, running=0)
        presence = Presence(service="worker", instance="other", at_ms=0, roles=(role,), **about)
        self.peers.observe("other", presence, loop_now_s())

    def execution(self, reply: Any = None, *, lasts_s: float, **asked: Any) -> Execution:
        """The execution of a request, with `lasts_s` to its deadline; `asked` as for `work`."""
        request = work(**asked)
        return Execution(
            work=request,
            role=self.catalogue.roles["chat"],
            degradation=self.catalogue.degradation_of("chat"),
            size=RequestSize(request, 10, 10),
            message_seq=1,
            reply=reply,
            span=NO_SPAN,
            started_s=loop_now_s(),
            deadline_s=loop_now_s() + lasts_s,
        )


def catalogue_of(
    role: RoleConfig | None = None, limits: Limits | None = None, models: tuple[str, ...] = ("m",)
) -> Catalogue:
    return Catalogue(
        name="test",
        providers={"p": ProviderConfig(api_key_env=NAMES)},
        models={model: Model(provider="p", limits=limits or Limits()) for model in models},
        roles={"chat": role or RoleConfig(chain=models)},
    )


def work(*, body: dict[str, Any] | None = None, **fields: Any) -> ChatWork:
    """`body`: fields of the body beside a short conversation; `fields` of the work message."""
    talk = [{"role": "user", "content": "how long is the river"}]
    asked = Raw(json.dumps({"messages": talk, **(body or {})}).encode())
    return chat_work(**{"id": "r", "estimated_tokens": 10, "body": asked, **fields})
