"""JetStream as a service needs it, from its start until it stops."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from penstock.bus.clock import ServerTime
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure_eventually
from penstock.runtime.provisioning.reconciler import Reconciler
from penstock.runtime.server_time_reader import wait_for_server_time
from penstock.runtime.service import Bus

__all__ = ["provision", "provisioned"]


class _Process(Protocol):
    server_time: ServerTime

    def healthy_while(self, check: Callable[[], bool]) -> None: ...


async def provision(bus: Bus, plan: JetStreamPlan, server_time: ServerTime) -> None:
    """Create what is missing. The time of the server, which is read from a stream, is known afterwards.

    Waits for a server that is still starting; raises ConfigurationRefused if it has too little storage.
    """
    await ensure_eventually(bus.js, plan)
    await wait_for_server_time(bus.nc, server_time)


@asynccontextmanager
async def provisioned(bus: Bus, plan: JetStreamPlan, process: _Process) -> AsyncIterator[None]:
    """As `provision`; then what is deleted or changed is restored, and while that fails `process` is not healthy."""
    await provision(bus, plan, process.server_time)
    reconciler = Reconciler(bus.js, plan)
    process.healthy_while(lambda: reconciler.succeeded)
    reconciler.start(bus.connection_events)
    try:
        yield
    finally:
        await reconciler.stop()
