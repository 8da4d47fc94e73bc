"""One system and one edge for all clients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system, started

collect_ignore = ["python"]
"""These run in the environment of the clients."""

CHAINS = {"reasoning": ("reasoning-model",), "safety": ("sim-safety",), "embed": ("sim-embed",)}
GUARD = {
    "input": {"personal_data/us_ssn": "block"},
    "output": {},
    "detectors": {"safety_model": {"enabled": True}},
}
"""Nothing else is looked for, so that the other tests are not concerned."""
USERS = {
    "spent": {"usd_per_day": 0},
    "limited": {"requests_per_hour": 0},
    "slow": {"requests_per_second": 1},
    "disabled": {"disabled": True},
}
"""The users of the tests of budgets; others have none."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = catalogue(
        CHAINS,
        roles={"fast": {"slots_per_worker": 1}},
        role={"retry": {"initial_backoff_s": 0.02, "max_backoff_s": 0.1, "same_model_retries": 0}},
        breaker={"failure_threshold": 10_000},
        models={
            "m-chat": {"price": {"input": 150_000, "output": 600_000}},
            "sim-embed": {
                "price": {"input": 20_000, "output": 0},
                "context_tokens": 8_191,
                "embedding": {"dimensions": 256, "shortens": True},
            },
        },
        budgets={"accounts": {"demo": {"users": USERS}}},
        guard=GUARD,
    )
    with shared_system(tmp_path_factory.mktemp("clients"), config=config, ledgers=1) as running:
        yield running


@pytest.fixture(scope="module")
def url(system: System) -> str:
    started(system.new_guard())
    return str(started(system.new_edge()).ready["url"])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    directory = tmp_path / "home"
    directory.mkdir()
    return directory
