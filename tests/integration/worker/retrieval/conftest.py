"""A router and a worker with retrieval, a provider that answers as told, and an indexer that a test scripts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from penstock.client.client import Client
from tests.harness.processes.fake_indexer import FakeIndexer
from tests.harness.processes.scripted_system import scripted_system
from tests.harness.processes.system import System
from tests.harness.providers.scripted_provider import ScriptedProvider, scripted_provider

RETRIEVAL = {"wait_s": 1.5, "memory": {"top_k": 3, "min_score": 0.3}}


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedProvider]:
    with scripted_provider("m-chat") as running:
        yield running


@pytest.fixture(scope="module")
def system(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, provider: ScriptedProvider
) -> Iterator[System]:
    sections = {
        "models": {"m-chat": {"context_tokens": 16_000}},
        "retrieval": RETRIEVAL,
        **getattr(request.module, "SECTIONS", {}),
    }
    directory = tmp_path_factory.mktemp("retrieval")
    keys = getattr(request.module, "PROVIDER", {})
    with scripted_system(directory, provider, sections, keys) as running:
        yield running


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    async with await system.client() as connected:
        yield connected


@pytest.fixture
async def indexer(system: System) -> AsyncIterator[FakeIndexer]:
    async with FakeIndexer.running(system.nats.url) as running:
        yield running
