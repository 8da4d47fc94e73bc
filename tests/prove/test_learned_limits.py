"""C4: cost and use of a learned limit, in real time; needs the machine for itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fault.worker.test_learned_limits import ask_all, config_of
from tests.harness.processes.system import running_system
from tests.harness.providers.token_bucket_provider import token_bucket_provider
from tests.harness.suite.proofs import report_figures

pytestmark = pytest.mark.prove

PER_MINUTE = CAPACITY = 240
REQUESTS = 400
IDEAL_S = (REQUESTS - CAPACITY) / (PER_MINUTE / 60)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("workers", [1, 3])
async def test_c4_a_learned_limit_costs_a_tenth_more_calls_and_is_used(tmp_path: Path, workers: int) -> None:
    with token_bucket_provider(PER_MINUTE, CAPACITY) as provider:
        async with (
            running_system(tmp_path, *["chat"] * workers, config=config_of(provider)) as system,
            await system.client() as client,
        ):
            received = await ask_all(client, REQUESTS)
        counts = provider.counts()
    per_answer = (counts.answered + counts.refused) / counts.answered
    used = IDEAL_S / counts.lasted_s
    report_figures(f"{workers} workers: {per_answer:.3f} calls per answer, {used:.1%} of the limit used")
    assert [each.code for each in received] == [None] * REQUESTS
    assert counts.answered == REQUESTS
    assert per_answer <= 1.1
    assert used >= 0.9
