"""A router and a worker with the policy `GUARD` of a test module, and a provider that answers as told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import yaml

from penstock.client.client import Client
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.providers.scripted_provider import ScriptedProvider, scripted_provider


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedProvider]:
    with scripted_provider("m-chat") as running:
        yield running


@pytest.fixture(scope="module")
def system(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, provider: ScriptedProvider
) -> Iterator[System]:
    config = yaml.safe_load(catalogue(guard=request.module.GUARD))
    config["providers"]["simulator"]["base_url"] = provider.url
    directory = tmp_path_factory.mktemp("guarded")
    with shared_system(directory, "chat", config=yaml.safe_dump(config)) as running:
        yield running


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    async with await system.client() as connected:
        yield connected
