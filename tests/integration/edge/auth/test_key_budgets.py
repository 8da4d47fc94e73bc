"""F1: a budget for each API key counts the requests of that key only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.edge_keys import answers, new_key
from tests.harness.processes.system import System, shared_system, started
from tests.harness.suite.waiting import until

ASKED: Any = [{"role": "user", "content": "Why is the sky blue?"}]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = catalogue(
        models={"m-chat": {"price": {"input": 1, "output": 1}}},
        budgets={"every_key": {"requests_per_hour": 2}},
    )
    with shared_system(tmp_path_factory.mktemp("key-budgets"), "chat", config=config, ledgers=1) as running:
        yield running


@pytest.fixture
def edge(system: System) -> str:
    return str(started(system.new_edge()).ready["url"])


async def test_f1_each_key_has_its_own_requests(system: System, edge: str) -> None:
    url = edge
    keys = [await new_key(system) for _ in range(2)]
    for key in keys:
        await until(answers(url, key, 200))
    for key in keys:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as ai:
            for left in ("1", "0"):
                raw = await ai.chat.completions.with_raw_response.create(model="chat", messages=ASKED)
                assert raw.headers["x-ratelimit-remaining-requests"] == left
            with pytest.raises(openai.RateLimitError) as raised:
                await ai.chat.completions.create(model="chat", messages=ASKED)
            assert key[4:12] in raised.value.message
            assert raised.value.response.headers["x-ratelimit-limit-requests"] == "2"
