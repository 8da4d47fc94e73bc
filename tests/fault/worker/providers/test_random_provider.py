"""D2, D3, D6: a provider that fails at random; the long run is tests/prove/test_random_provider.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.processes.system import System
from tests.harness.providers.random_provider import FailureRates, random_provider
from tests.harness.suite.proofs import report_figures

REQUESTS = 60
ROLE = {"timeouts": {"total_s": 20, "first_token_s": 2, "between_tokens_s": 0.8}}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[System, Any]]:
    with random_provider(
        tmp_path_factory.mktemp("random"), FailureRates(stall_s=3.0), role=ROLE, seed=7
    ) as begun:
        yield begun


async def test_d3_while_half_the_calls_succeed_requests_complete(begun: tuple[System, Any]) -> None:
    system, run = begun
    async with await system.client() as client:
        done = await run(client, REQUESTS, 3.0, 18.0)

    report_figures(done.summary())
    assert done.wrong == []
    assert len(done.completed) >= REQUESTS - 1, done.summary()
    assert done.took_s < 20
