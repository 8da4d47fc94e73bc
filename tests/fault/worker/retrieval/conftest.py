"""A router and a worker with retrieval, whose searches take at most 1.5 s, and a provider that answers as told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.processes.scripted_system import scripted_system
from tests.harness.processes.system import System
from tests.harness.providers.scripted_provider import ScriptedProvider, scripted_provider


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedProvider]:
    with scripted_provider("m-chat") as running:
        yield running


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, provider: ScriptedProvider) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("retrieval")
    with scripted_system(directory, provider, {"retrieval": {"wait_s": 1.5}}) as running:
        yield running
