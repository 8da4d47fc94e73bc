"""A worker's equipment without a server: for tests of what it decides before anything is sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from msgspec import Raw
from nats.aio.client import Client as Nats
from prometheus_client import CollectorRegistry

from penstock.bus.clock import SYSTEM, loop_now_s
from penstock.bus.connection import Reconnects
from penstock.bus.tracing import NO_SPAN, NO_TRACER
from penstock.contract.work import ChatWork
from penstock.runtime.config.catalogue import Catalogue, Limits, Model, Provider, RoleConfig
from penstock.runtime.epochs import DeliveryEpochs
from penstock.runtime.service import Bus
from services.worker.accounting.usage_recorder import Recorder
from services.worker.announcer import Announcer
from services.worker.credentials.keyring import Keyring
from services.worker.credentials.quota_keys import keys_of
from services.worker.degradation.monitor import Degrading
from services.worker.estimates.service_times import Pace
from services.worker.estimates.token_calibration import Calibration
from services.worker.execution.equipment import Equipment
from services.worker.execution.handover import Handover
from services.worker.execution.state import Job
from services.worker.metrics import WorkerMetrics
from services.worker.models.availability import Availability
from services.worker.models.peers import Peers
from services.worker.models.roster import Roster
from services.worker.quota_monitor.monitor import Tiers
from services.worker.rate_limit.quota import LocalQuota, QuotaKey
from services.worker.redelivery.job_record import Background
from tests.harness.routed_requests import chat_work

NAMES = ("A_KEY", "B_KEY", "C_KEY")


def bus_apart() -> Bus:
    """Connected to nothing."""
    nc = Nats()
    return Bus(nc, nc.jetstream(), Reconnects(), DeliveryEpochs(nc))


class Endpoint:
    """Of a provider that nobody calls."""

    name = "p"
    rate_limit_headers = "openai"

    def __init__(self, credentials: tuple[str, ...]) -> None:
        self.credentials = credentials


def catalogue_of(role: RoleConfig | None = None, limits: Limits | None = None) -> Catalogue:
    return Catalogue(
        name="test",
        providers={"p": Provider(api_key_env=NAMES)},
        models={"m": Model(provider="p", limits=limits or Limits())},
        roles={"chat": role or RoleConfig(chain=("m",))},
    )


def equipped(catalogue: Catalogue, names: tuple[str, ...] = NAMES) -> Equipment:
    """With keys of these names for all models."""
    models = catalogue.models
    limits = {QuotaKey(name, model): models[model].limits for name in names for model in models}
    keys, quota = keys_of(catalogue, {"p": names}), LocalQuota(limits, batch=catalogue.batch)
    availability = Availability(catalogue, keys, quota, Roster(catalogue.models))
    endpoint: Any = Endpoint(names)
    providers: Mapping[str, Any] = {"p": endpoint}
    metrics, bus = WorkerMetrics(CollectorRegistry()), bus_apart()
    return Equipment(
        instance="w",
        catalogue=catalogue,
        providers=providers,
        availability=availability,
        handover=Handover(Peers(catalogue, "w"), max_deliver=5),
        keyring=Keyring(names, dict.fromkeys(names, "secret"), {}, {}, 90),
        calibration=Calibration(),
        degrading=Degrading(catalogue, metrics),
        tiers=Tiers(catalogue, keys, quota, metrics, catalogue.roles),
        recorder=Recorder(bus.js, catalogue, metrics, SYSTEM, "w"),
        announcer=Announcer(bus.js),
        pace=Pace(),
        background=Background(bus, SYSTEM, "w"),
        metrics=metrics,
        tracer=NO_TRACER,
        clock=SYSTEM,
        random=lambda: 0.5,
    )


def work(lane: Any = "interactive", request_id: str = "r", **body: Any) -> ChatWork:
    talk = [{"role": "user", "content": "how long is the river"}]
    asked = Raw(json.dumps({"messages": talk, **body}).encode())
    return chat_work(id=request_id, lane=lane, estimated_tokens=10, body=asked)


def job_of(
    equipment: Equipment, reply: Any, *, lasts_s: float, lane: Any = "interactive", **body: Any
) -> Job:
    """In the hands of the task that asks; its deadline is `lasts_s` from now."""
    task: Any = asyncio.current_task()
    return Job(
        work=work(lane, **body),
        work_seq=1,
        role=equipment.catalogue.roles["chat"],
        reply=reply,
        span=NO_SPAN,
        task=task,
        deadline_s=loop_now_s() + lasts_s,
        estimated_tokens=10,
        output_tokens=10,
    )
