"""A router and a worker with retrieval, whose searches take at most 1.5 s, and a provider that answers as told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.providers.scripted_provider import ScriptedProvider, scripted_provider


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedProvider]:
    with scripted_provider("m-chat") as running:
        yield running


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, provider: ScriptedProvider) -> Iterator[System]:
    config = yaml.safe_load(catalogue(retrieval={"wait_s": 1.5}))
    config["providers"]["simulator"]["base_url"] = provider.url
    directory = tmp_path_factory.mktemp("retrieval")
    with shared_system(directory, "chat", config=yaml.safe_dump(config)) as running:
        yield running
