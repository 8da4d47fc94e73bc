"""A catalogue with 1,000 models: it loads in seconds, and every part of the system serves it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from penstock.client.client import Client
from penstock.runtime.config.load import read_catalogue
from tests.harness.processes.catalogues import ROLES, catalogue
from tests.harness.processes.cli_command import run_command
from tests.harness.processes.system import System, shared_system

MODELS = 1_000
LOADED_CPU_S = 5.0
"""CPU seconds; it takes half a second."""
MOST_MB = 160
"""Of a router or a worker, which have 72 and 103, with a small catalogue 70 and 91."""
OF_ROLE = MODELS // len(ROLES) + 1
CHAINS = {
    role: [f"m-{number}" for number in range(place * OF_ROLE, min((place + 1) * OF_ROLE, MODELS))]
    for place, role in enumerate(ROLES)
}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("system")
    with shared_system(directory, config=catalogue(CHAINS), fresh=True) as running:
        yield running


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    async with await system.client() as connected:
        yield connected


def test_it_is_read_within_seconds(tmp_path: Path):
    file = tmp_path / "many.yaml"
    file.write_text(catalogue(CHAINS))
    began_s = time.process_time()
    read = read_catalogue(file, {"PENSTOCK_SIMULATOR_URL": "http://127.0.0.1:1"})
    assert time.process_time() - began_s < LOADED_CPU_S
    assert len(read.models) == MODELS


async def test_router_and_worker_stay_small_and_serve_roles_and_models(system: System, client: Client):
    for role in ("chat", "coding", "safety"):
        assert (await client.chat("Hello", role=role)).model == CHAINS[role][0]
    for model in ("m-0", "m-555", f"m-{MODELS - 1}"):
        assert (await client.chat("Hello", model=model)).model == model
    for process in (system.router, *system.workers):
        assert process.rss_mb() < MOST_MB, process.log
    assert len(await system.metrics()) < 1_000_000


async def test_status_ends_and_names_every_role(system: System):
    shown = await run_command(system, "status")
    assert shown.code == 0, shown.notes
    for role in ROLES:
        assert role in shown.out


async def test_the_edge_lists_every_model(system: System):
    edge = system.new_edge()
    await edge.start()
    async with aiohttp.ClientSession() as session:
        began_s = time.monotonic()
        async with session.get(f"{edge.ready['url']}/v1/models") as answer:
            assert answer.status == 200
            listed = {each["id"] for each in (await answer.json())["data"]}
        assert time.monotonic() - began_s < 5
    assert listed >= {f"m-{number}" for number in range(MODELS)} | set(ROLES)
    assert await edge.terminate() == 0
