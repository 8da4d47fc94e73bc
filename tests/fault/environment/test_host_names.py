"""Host names of providers and of NATS that a name server does not know, or for which it does not answer."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from penstock.client.client import Client
from penstock.errors import RequestFailed
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.penstock_up import REPOSITORY
from tests.harness.processes.process import Process
from tests.harness.processes.system import System, shared_system
from tests.harness.providers.name_server import asking, name_server
from tests.harness.suite.waiting import until

SILENT = 8
"""Providers whose name gets no answer: more than an event loop on a small machine has threads for blocking calls."""
NOWHERE = "http://127.0.0.1:1"
HOSTS = {"KNOWN": "good.here.test", "BROKEN": "api.broken.test", "SILENT": "api.slow.test"}


def config() -> str:
    silent = [f"silent{n}" for n in range(SILENT)]
    data = yaml.safe_load(
        catalogue({"fast": ["m-known"], "broken": ["m-broken"], **{n: [f"m-{n}"] for n in silent}})
    )
    for name in ("known", "broken", *silent):
        url = "${" + f"{name.rstrip('0123456789').upper()}_URL" + "}/v1"
        data["providers"][name] = {"base_url": url}
        data["models"][f"m-{name}"]["provider"] = name
    return yaml.safe_dump(data)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    env = {f"{name}_URL": NOWHERE for name in HOSTS}
    with shared_system(tmp_path_factory.mktemp("system"), config=config(), env=env) as running:
        yield running


@pytest.fixture
async def worker(system: System, tmp_path: Path) -> AsyncIterator[Process]:
    """The only worker; it asks the name server of the test."""
    port = urlsplit(system.simulator.ready["url"]).port
    worker = system.new_worker(**{f"{name}_URL": f"http://{host}:{port}" for name, host in HOSTS.items()})
    worker.prefix = asking(tmp_path)
    async with name_server() as silent:
        await worker.start()
        silent.add("slow.test")  # only now, so that the start waits for no model list
        await system.workers[0].terminate()
        yield worker
        worker.kill()


async def test_names_without_an_answer_delay_no_other_provider_and_the_error_names_an_unknown_one(
    worker: Process, client: Client
):
    held = [asyncio.create_task(client.chat("Lost?", role=f"silent{n}", timeout_s=60)) for n in range(SILENT)]
    with pytest.raises(RequestFailed, match=r"host name api\.broken\.test cannot be resolved"):
        await client.chat("Broken?", role="broken", timeout_s=3)
    began_s = time.monotonic()
    assert (await client.chat("Known?", role="fast", timeout_s=20)).text
    assert time.monotonic() - began_s < 2

    for request in held:
        request.cancel()
    await asyncio.wait(held)
    began_s = time.monotonic()
    assert await worker.terminate() == 0
    assert time.monotonic() - began_s < 10


async def test_a_service_waits_until_the_host_name_of_nats_resolves(system: System, tmp_path: Path):
    port = system.nats.url.rpartition(":")[2]
    router = system.new_router(NATS_URL=f"nats://nats.here.test:{port}")
    router.prefix = asking(tmp_path)
    starting = asyncio.create_task(router.start())

    async def is_refused() -> bool:
        return router.log.exists() and "nats.here.test" in router.log.read_text()

    await until(is_refused, 60)
    assert not starting.done()
    async with name_server():
        await asyncio.wait_for(starting, 30)
        assert await router.terminate() == 0
    assert "Traceback" not in router.log.read_text()


@pytest.mark.parametrize("arguments", [("ask", "Hello"), ("status",)], ids=["ask", "status"])
async def test_a_command_ends_with_the_host_name_of_nats_that_does_not_resolve(
    arguments: tuple[str, ...], tmp_path: Path
):
    async with name_server():
        command = await asyncio.create_subprocess_exec(
            *(*asking(tmp_path), sys.executable, "-P", "-m", "penstock.cli", *arguments),
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "NATS_URL": "nats://nats.unknown.test:4222"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        _, notes = await asyncio.wait_for(command.communicate(), 60)
    assert command.returncode == 1
    assert "nats.unknown.test" in notes.decode()
    assert "Traceback" not in notes.decode()
