"""One system and one edge for each module of tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import openai
import pytest

from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.process import Process
from tests.harness.processes.system import System, shared_system, started

CHAINS = {
    "coding": ("coder",),
    "reasoning": ("reasoning-model",),
    "creative": ("poet--cut=5", "poet"),
    "logic": ("one--cut=20", "other"),
    "safety": ("broken--cut=5",),
    "long_context": ("one",),
    "poet": ("poet",),
}
"""The text of the simulator depends on the name before `--`: only the second model of `creative` repeats the first.
The role `poet` offers the model of that name."""
PRICE = "100 USD per million tokens"
PRICED = {"coder": {"price": {"input": PRICE, "output": PRICE}}}
"""A token costs 100 millionths of a dollar. The other models have no price."""
QUICK = {"retry": {"initial_backoff_s": 0.02, "max_backoff_s": 0.1, "same_model_retries": 0}}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = catalogue(
        CHAINS,
        models=PRICED,
        role=QUICK,
        roles={"vision": {**QUICK, "slots_per_worker": 1}},
        breaker={"failure_threshold": 10_000},
    )
    with shared_system(tmp_path_factory.mktemp("edge"), config=config) as running:
        yield running


@pytest.fixture(scope="module")
def edge(system: System) -> Process:
    return started(system.new_edge(PENSTOCK_EDGE_WAIT_S="0.5"))


@pytest.fixture(scope="module")
def url(edge: Process) -> str:
    return str(edge.ready["url"])


@pytest.fixture(scope="module")
def other_url(system: System) -> str:
    """Another edge process of the same system."""
    return str(started(system.new_edge()).ready["url"])


@pytest.fixture
def chat(url: str) -> str:
    return f"{url}/v1/chat/completions"


@pytest.fixture
def other(other_url: str) -> str:
    return f"{other_url}/v1/chat/completions"


@pytest.fixture
async def ai(url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    """The SDK as anyone installs it; it does not retry, so that each test sees the first answer."""
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client:
        yield client
