"""A router and a worker with the policy `GUARD` of a test module, and a provider that answers as told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from penstock.client.client import Client
from tests.harness.processes.scripted_system import scripted_system
from tests.harness.processes.system import System
from tests.harness.providers.scripted_provider import ScriptedProvider, scripted_provider


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedProvider]:
    with scripted_provider("m-chat") as running:
        yield running


@pytest.fixture(scope="module")
def system(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, provider: ScriptedProvider
) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("guarded")
    with scripted_system(directory, provider, {"guard": request.module.GUARD}) as running:
        yield running


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    async with await system.client() as connected:
        yield connected
