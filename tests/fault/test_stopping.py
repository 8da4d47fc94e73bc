"""D9: whoever is told to stop while NATS or JetStream is away still exits, in time; leases then end by themselves."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nats
import pytest

from services.launcher.nats_server import find_nats_server
from services.launcher.orphans import die_with_parent
from tests.harness.asking import until
from tests.harness.catalogues import ROLES, catalogue
from tests.harness.system import System, running

DRAIN_S = 1.0
BEYOND_DRAIN_S = 15.0
"""What docs/configuration.md tells a supervisor to leave."""
LIMITED = {"limits": {"requests_per_minute": 600, "tokens_per_minute": 100_000}}


@contextmanager
def gone(system: System) -> Iterator[None]:
    system.nats.kill()
    yield


@contextmanager
def frozen(system: System) -> Iterator[None]:
    assert system.nats.pid is not None
    os.kill(system.nats.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(system.nats.pid, signal.SIGCONT)


@contextmanager
def without_jetstream(system: System) -> Iterator[None]:
    """Another server, in the place of the first."""
    port = system.nats.url.rpartition(":")[2]
    system.nats.kill()
    plain = subprocess.Popen(
        [str(find_nats_server()), "-a", "127.0.0.1", "-p", port],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent(),  # noqa: PLW1509
    )
    try:
        yield
    finally:
        plain.kill()
        plain.wait()


async def heard(system: System) -> None:
    """The worker is connected to whatever runs there."""
    nc = await nats.connect(system.nats.url)
    subscription = await nc.subscribe("$KV.llm_presence.worker.*")
    await subscription.next_msg(timeout=20)
    await nc.close()


@pytest.mark.parametrize("away", [gone, frozen, without_jetstream])
async def test_d9_worker_and_router_told_to_stop_while_nats_is_away_exit_in_time(
    tmp_path: Path, away
) -> None:
    models = {f"m-{role.replace('_', '-')}": LIMITED for role in ROLES}
    env = {"PENSTOCK_DRAIN_S": f"{DRAIN_S}"}
    async with running(tmp_path, config=catalogue(models=models), env=env) as system:
        await system.sim("PUT", "speed", {"tokens_per_second": 20})
        async with await system.client() as client:
            await client.submit("Tell me of the river. [[tokens=2000]]", role="chat")

            async def asked() -> bool:
                return await system.attempts() == 1

            await until(asked)
        with away(system):
            if away is without_jetstream:
                await heard(system)
            began_s = time.monotonic()
            ended = await asyncio.gather(system.workers[0].terminate(), system.router.terminate())
            took_s = time.monotonic() - began_s
        assert ended == [0, 0]
        assert took_s < DRAIN_S + BEYOND_DRAIN_S
        for process in (system.workers[0], system.router):
            assert "Application shutdown failed" not in process.log.read_text()
