"""Guards in the process of the test, each with a connection of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from prometheus_client import CollectorRegistry

from penstock.bus.clock import ServerTime
from penstock.bus.connection import ConnectionEvents, close, connect
from penstock.bus.ids import new_id
from penstock.bus.tracing import NO_TRACER, Tracer
from penstock.runtime.config.load import load_catalogue
from penstock.runtime.config.settings import Settings
from penstock.runtime.epochs import DeliveryEpochs
from penstock.runtime.service import Bus
from services.guard.app import GuardService
from services.guard.composition import LoadedLocally
from tests.harness.processes.catalogues import catalogue

__all__ = ["RunningGuard", "running_guard"]


class _Shell(Struct):
    """What a guard takes from its process."""

    instance: str
    settings: Settings
    registry: CollectorRegistry
    tracer: Tracer
    service: str = "guard"
    server_time: ServerTime = field(default_factory=ServerTime)

    def healthy_while(self, check: object) -> None:
        """There is no health check."""


class RunningGuard:
    def __init__(
        self,
        url: str,
        section: Mapping[str, Any],
        local: LoadedLocally,
        *,
        tracer: Tracer = NO_TRACER,
        key: str | None = None,
        chains: Mapping[str, Sequence[str]] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """`section`: the section `guard` of the catalogue; `local`: the detectors of the process."""
        self._url = url
        self.registry = CollectorRegistry()
        self.instance = f"guard-{new_id()}"
        shell = _Shell(self.instance, Settings(nats_url=url, **(settings or {})), self.registry, tracer)
        env = {"PENSTOCK_SIMULATOR_URL": "http://127.0.0.1:1"}
        config = load_catalogue(catalogue(chains, guard=section), source="test", env=env)
        self.service = GuardService(shell, config, Path("/nowhere"), key, lambda *_: local)

    async def start(self) -> None:
        events = self._events = ConnectionEvents(self._url)
        self._nc = await connect(self._url, name=self.instance, events=events)
        bus = Bus(self._nc, self._nc.jetstream(), events, DeliveryEpochs(self._nc))
        await self.service.start(bus, "")
        await self._nc.flush()

    async def stop(self) -> None:
        await self.service.drain()
        self._events.closing = True
        await close(self._nc)

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def running_guard(
    url: str, section: Mapping[str, Any], local: LoadedLocally, **options: Any
) -> AsyncIterator[RunningGuard]:
    guard = RunningGuard(url, section, local, **options)
    await guard.start()
    try:
        yield guard
    finally:
        await guard.stop()
