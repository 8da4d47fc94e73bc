"""Ledgers in the process of the test, each with a connection of its own, and what applications send to them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from typing import Any

from msgspec import Struct, field
from nats.aio.client import Client as Nats
from nats.errors import NoRespondersError
from prometheus_client import CollectorRegistry

from penstock.bus.clock import ServerTime
from penstock.bus.connection import ConnectionEvents, close, connect
from penstock.bus.ids import new_id
from penstock.bus.publish import store
from penstock.bus.tracing import NO_TRACER, Tracer
from penstock.contract import codec, subjects
from penstock.contract.events import UsageRecorded
from penstock.contract.ledger.holds import HoldAnswer, HoldRequest
from penstock.contract.ledger.policies import Scope
from penstock.contract.ledger.status import BudgetQuery, BudgetStatus
from penstock.contract.streams import JOURNAL
from penstock.runtime.config.load import load_catalogue
from penstock.runtime.config.settings import Settings
from penstock.runtime.epochs import DeliveryEpochs
from penstock.runtime.holds import release_hold
from penstock.runtime.service import Bus
from services.ledger.app import Ledger
from services.ledger.partitions.snapshotter import SnapshotPolicy
from tests.harness.processes.catalogues import catalogue
from tests.harness.suite.waiting import WAIT_TIMEOUT_S

__all__ = ["LedgerUser", "RunningLedger", "create_journal_anew", "running_ledger"]

MICROUSD = 1_000_000
"""Picodollars of a micro-dollar."""


class _Shell(Struct):
    """What a ledger takes from its process."""

    instance: str
    settings: Settings
    registry: CollectorRegistry
    tracer: Tracer
    service: str = "ledger"
    server_time: ServerTime = field(default_factory=ServerTime)

    def healthy_while(self, check: object) -> None:
        """There is no health check."""

    def writing(self, *_: object) -> AbstractAsyncContextManager[None]:
        """Nor a probe for it."""
        return nullcontext()


class RunningLedger:
    def __init__(
        self,
        url: str,
        budgets: Mapping[str, Any],
        *,
        snapshots: SnapshotPolicy | None = None,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._url = url
        self.registry = CollectorRegistry()
        self.instance = f"ledger-{new_id()}"
        self.server_time = ServerTime()
        """Read once, at the start; a test may set it later."""
        shell = _Shell(
            self.instance, Settings(nats_url=url), self.registry, tracer, server_time=self.server_time
        )
        env = {"PENSTOCK_SIMULATOR_URL": "http://127.0.0.1:1"}
        config = load_catalogue(catalogue(budgets=budgets), source="test", env=env)
        self.ledger = Ledger(shell, config, snapshots or SnapshotPolicy())

    async def start(self) -> None:
        events = self._events = ConnectionEvents(self._url)
        self._nc = await connect(self._url, name=self.instance, events=events)
        await self.ledger.start(Bus(self._nc, self._nc.jetstream(), events, DeliveryEpochs(self._nc)), "")

    async def stop(self) -> None:
        await self.ledger.drain()
        self._events.closing = True
        await close(self._nc)

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0

    @property
    def owned(self) -> set[str]:
        return {
            sample.labels["partition"]
            for family in self.registry.collect()
            if family.name == "penstock_ledger_partition_owned"
            for sample in family.samples
            if sample.value
        }


@asynccontextmanager
async def running_ledger(
    url: str, budgets: Mapping[str, Any], **options: Any
) -> AsyncIterator[RunningLedger]:
    ledger = RunningLedger(url, budgets, **options)
    await ledger.start()
    try:
        yield ledger
    finally:
        await ledger.stop()


async def create_journal_anew(nc: Nats) -> None:
    """Delete the stream of the journals and create it again, empty."""
    js = nc.jetstream()
    config = (await js.stream_info(JOURNAL.name)).config
    await js.delete_stream(JOURNAL.name)
    await js.add_stream(config)


class LedgerUser:
    """Holds, usage and releases of one account, as router and worker send them."""

    def __init__(self, nc: Nats, account: str) -> None:
        self._nc = nc
        self.account = account

    def request(self, name: str = "", **fields: Any) -> HoldRequest:
        """A hold of 1,000 micro-dollars and 1,000 tokens for a minute."""
        usual = {
            "id": f"{self.account}.client.{name or new_id()}",
            "account": self.account,
            "role": "chat",
            "picousd": 1_000 * MICROUSD,
            "tokens": 1_000,
            "deadline_ms": int(time.time() * 1000) + 60_000,
        }
        return HoldRequest(**(usual | fields))

    async def hold(self, name: str = "", *, timeout_s: float = 10.0, **fields: Any) -> HoldAnswer:
        return await self.ask(codec.encode(self.request(name, **fields)), timeout_s=timeout_s)

    async def ask(self, data: bytes, *, timeout_s: float = 10.0) -> HoldAnswer:
        msg = await self._nc.request(self.hold_subject, data, timeout=timeout_s)
        return codec.HOLD_ANSWER.decode(msg.data)

    @property
    def partition(self) -> str:
        return subjects.partition_of(self.account)

    @property
    def hold_subject(self) -> str:
        return subjects.ledger_hold(self.partition)

    def usage(self, name: str, microusd: int, *, attempt: int = 1, **fields: Any) -> UsageRecorded:
        """The usage of an attempt, which ends the request."""
        usual: dict[str, Any] = {
            "id": name,
            "attempt": attempt,
            "account": self.account,
            "user": "",
            "role": "chat",
            "lane": "interactive",
            "complexity": "simple",
            "provider": "simulator",
            "model": "m-chat",
            "credential": "",
            "outcome": "completed",
            "input_tokens": 100,
            "output_tokens": 10,
            "client": "client",
            "hold_id": f"{self.account}.client.{name}",
            "cost_picousd": microusd * MICROUSD,
            "ends": True,
            "at_ms": int(time.time() * 1000),
        }
        return UsageRecorded(**(usual | fields))

    async def use(self, name: str, microusd: int, *, attempt: int = 1, **fields: Any) -> None:
        """Store the usage of an attempt, which ends the request."""
        usage = self.usage(name, microusd, attempt=attempt, **fields)
        message_id = f"{self.account}.client.{name}.{attempt}"
        await store(
            self._nc.jetstream(), subjects.usage(self.account), codec.encode(usage), message_id=message_id
        )

    async def release(self, name: str, why: str = "cancelled") -> None:
        hold_id, now_ms = f"{self.account}.client.{name}", int(time.time() * 1000)
        await release_hold(self._nc.jetstream(), hold_id, self.account, why, now_ms)

    async def status(self, scope: Scope = "account", name: str = "") -> BudgetStatus:
        partition = subjects.SYSTEM_PARTITION if scope == "system" else self.partition
        query = BudgetQuery(scope=scope, account="" if scope == "system" else self.account, name=name)
        asked = codec.encode(query)
        async with asyncio.timeout(WAIT_TIMEOUT_S):
            # A ledger that a busy machine did not run for 2 s gives its partitions up, and takes them again.
            while True:
                with suppress(NoRespondersError):
                    msg = await self._nc.request(subjects.ledger_budget(partition), asked, timeout=5)
                    return codec.BUDGET_REPORT.decode(msg.data).status
                await asyncio.sleep(0.05)
