"""D9, D7: a process that is stopped while NATS or JetStream is away exits in time; its leases expire, and other
processes execute the requests that it had in flight.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import nats
import pytest

from penstock.cli.local.nats_server import NatsServer, find_nats_server
from penstock.contract.reply import Completed
from penstock.runtime.processes.pdeathsig import die_with_parent
from tests.harness.processes.catalogues import ROLES, catalogue
from tests.harness.processes.system import System, running_system
from tests.harness.requests.replies import RawPublisher
from tests.harness.suite.waiting import until

DRAIN_S = 1.0
BEYOND_DRAIN_S = 15.0
"""Seconds beyond the drain that a supervisor allows, as docs/configuration.md recommends."""
Away = Callable[[System], AbstractContextManager[None]]
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
    """A server without JetStream replaces the first one."""
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


async def connected(system: System) -> None:
    """Wait until the worker is connected to the server at this address."""
    nc = await nats.connect(system.nats.url)
    subscription = await nc.subscribe("$KV.llm_presence.worker.*")
    await subscription.next_msg(timeout=20)
    await nc.close()


def unstored(log: str) -> str:
    """The log lines of usage events that could not be stored."""
    return "".join(
        line for line in log.splitlines() if "an event was not stored" in line and "usage_recorded" in line
    )


async def back(system: System, away: Away) -> None:
    """Start the first NATS server again, with its store."""
    if away is not frozen:
        await system.nats.start()


@pytest.mark.parametrize("away", [gone, frozen, without_jetstream])
async def test_d9_d7_processes_stopped_while_nats_is_down_exit_in_time(tmp_path: Path, away: Away) -> None:
    models = {f"m-{role.replace('_', '-')}": LIMITED for role in ROLES}
    env = {"PENSTOCK_DRAIN_S": f"{DRAIN_S}"}
    async with running_system(tmp_path, config=catalogue(models=models), env=env) as system:
        await system.sim("PUT", "speed", {"tokens_per_second": 20})
        async with await system.client() as client:
            name = client.name
            job_id = await client.submit("Tell me of the river. [[tokens=2000]]", role="chat")

            async def asked() -> bool:
                return await system.attempts() == 1

            await until(asked)
        with away(system):
            if away is without_jetstream:
                await connected(system)
            began_s = time.monotonic()
            ended = await asyncio.gather(system.workers[0].terminate(), system.router.terminate())
            took_s = time.monotonic() - began_s
        assert ended == [0, 0]
        assert took_s < DRAIN_S + BEYOND_DRAIN_S
        for process in (system.workers[0], system.router):
            assert "Application shutdown failed" not in process.log.read_text()
        assert job_id in unstored(system.workers[0].log.read_text())

        await back(system, away)
        await system.sim("PUT", "speed", {"tokens_per_second": 0})
        system.router, system.workers[0] = system.new_router(), system.new_worker()
        await asyncio.gather(system.router.start(), system.workers[0].start())
        async with await system.client() as client:

            async def done() -> bool:
                return (await client.job(job_id)).ended

            await until(done, 40)
            assert (await client.job(job_id)).state == "completed"
        async for publisher in RawPublisher.opened(system):
            assert isinstance(await publisher.end(job_id, client=name), Completed)


async def test_d9_processes_whose_collector_of_traces_does_not_answer_exit_in_time(tmp_path: Path) -> None:
    """The collector accepts connections and reads nothing; one request to it may take longer than the exit."""
    with socket.create_server(("127.0.0.1", 0)) as collector:
        env = {
            "PENSTOCK_DRAIN_S": f"{DRAIN_S}",
            "PENSTOCK_TRACES": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.getsockname()[1]}",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "60",
        }
        async with running_system(tmp_path, config=catalogue(), env=env) as system:
            async with await system.client() as client:
                assert (await client.chat("Hello.", role="chat", timeout_s=20)).text
            began_s = time.monotonic()
            ended = await asyncio.gather(system.workers[0].terminate(), system.router.terminate())
            took_s = time.monotonic() - began_s
            assert ended == [0, 0]
            assert took_s < DRAIN_S + BEYOND_DRAIN_S


_FAILING_STOP = """
import os
from penstock.runtime.config.settings import load_settings
from penstock.runtime.service import Shell

class StopsWithAnError:
    async def start(self, bus, http): ...

    async def drain(self):
        raise RuntimeError("the work in flight cannot be returned")

raise SystemExit(Shell("failing", load_settings(os.environ)).run(StopsWithAnError()))
"""


async def test_d9_a_service_that_cannot_stop_in_order_says_so_and_exits_with_1(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, "-c", _FAILING_STOP],
            env={**os.environ, "NATS_URL": nats_server.url, "PENSTOCK_LOG_LEVEL": "warning"},
            stdout=subprocess.PIPE,
            stderr=stderr,
            preexec_fn=die_with_parent(),  # noqa: PLW1509
        )
    try:
        assert process.stdout is not None
        assert json.loads(await asyncio.to_thread(process.stdout.readline))["service"] == "failing"
        process.terminate()
        assert await asyncio.to_thread(process.wait, 20) == 1
        (line,) = [json.loads(each) for each in log.read_text().splitlines()]
        assert (line["level"], line["message"]) == ("error", "failing could not stop in order")
        assert "the work in flight cannot be returned" in line["exception"]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
