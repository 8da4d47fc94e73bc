"""D2, D3, D6: 300 requests at a provider that fails half of its calls, in different ways."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.processes.system import System
from tests.harness.providers.random_provider import FailureRates, random_provider
from tests.harness.suite.proofs import report_figures

REQUESTS = 300
DEADLINE_S = 60.0
ROLE = {"timeouts": {"total_s": DEADLINE_S, "first_token_s": 8, "between_tokens_s": 5}}

pytestmark = [pytest.mark.prove, pytest.mark.timeout(200)]


@pytest.fixture(scope="module", params=[1, 2], ids=lambda seed: f"seed {seed}")
def begun(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[System, Any]]:
    with random_provider(
        tmp_path_factory.mktemp("random"), FailureRates(), role=ROLE, seed=request.param
    ) as begun:
        yield begun


async def test_d3_a_provider_that_fails_half_of_its_calls(begun: tuple[System, Any]) -> None:
    system, run = begun
    async with await system.client() as client:
        done = await run(client, REQUESTS, 20.0, DEADLINE_S)

    report_figures(f"random: {done.summary()}")
    assert done.wrong == []
    assert len(done.completed) >= 0.98 * REQUESTS, done.summary()
