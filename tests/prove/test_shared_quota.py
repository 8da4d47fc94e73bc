"""C1: four worker processes of two roles on one model use the whole limit and receive few 429s."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from penstock.client.client import Client
from penstock.errors import RequestFailed
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, running_system
from tests.harness.suite.proofs import report_figures

REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE = 600, 100_000
DEMAND_PER_S = 3 * REQUESTS_PER_MINUTE / 60
PROOF_S = 120.0
PATIENCE_S = 15.0
LIMITS = {"requests_per_minute": REQUESTS_PER_MINUTE, "tokens_per_minute": TOKENS_PER_MINUTE}
WORDS = ("water", "falls", "through", "the", "pipe", "and", "turns", "each", "wheel", "with", "what", "it")


@pytest.mark.prove
@pytest.mark.timeout(280)
@pytest.mark.parametrize("workers_change", [False, True], ids=["steady", "killed-and-added"])
@pytest.mark.parametrize("algorithm", ["fixed_window", "token_bucket"])
@pytest.mark.parametrize("answer_tokens", [60, 250], ids=["requests-bind", "tokens-bind"])
async def test_c1_four_workers_share_one_limit(
    tmp_path: Path, algorithm: str, answer_tokens: int, *, workers_change: bool
):
    config = catalogue(
        {"chat": ["m-shared"], "coding": ["m-shared"]},
        models={"m-shared": {"limits": LIMITS}},
        role={"slots_per_worker": 64},
    )
    workers = ("chat", "chat", "coding", "coding")
    async with (
        running_system(
            tmp_path, *workers, config=config, env={"PENSTOCK_TRACES": "off", "PENSTOCK_QUOTA": "shared"}
        ) as system,
        await system.client() as client,
    ):
        await system.sim("PUT", "limits", {"m-shared": {**LIMITS, "algorithm": algorithm}})
        await system.sim("PUT", "speed", {"tokens_per_second": 400, "first_token_ms": 100, "latency_ms": 0})
        change = asyncio.create_task(_change(system)) if workers_change else None
        began_s = time.monotonic()
        outcomes = await _demand(client, answer_tokens)
        counts = (await system.sim("GET", "counts"))["models"]["m-shared"]
        minutes = (time.monotonic() - began_s) / 60
        if change is not None:
            await change
    refused = sum(count for status, count in counts["errors"].items() if status == "429")
    busiest = counts["busiest_minute"]
    requests = (counts["attempts"] - refused) / (REQUESTS_PER_MINUTE * minutes)
    tokens = (counts["prompt_tokens"] + counts["completion_tokens"]) / (TOKENS_PER_MINUTE * minutes)
    report_figures(
        f"{algorithm}, {answer_tokens} tokens, {'a worker killed, one added' if workers_change else 'steady'}: "
        f"{counts['attempts']} attempts, {refused} refused ({refused / counts['attempts']:.2%}); "
        f"used {requests:.1%} of the requests and {tokens:.1%} of the tokens of {minutes * 60:.1f} s; "
        f"in the busiest minute {busiest['requests']} requests, {busiest['tokens']} tokens; {dict(outcomes)}"
    )
    assert refused <= 0.005 * counts["attempts"]
    assert busiest["requests"] <= REQUESTS_PER_MINUTE
    assert busiest["tokens"] <= TOKENS_PER_MINUTE
    assert max(requests, tokens) >= 0.95


async def _demand(client: Client, answer_tokens: int) -> Counter[str]:
    """Send three times the limit at a constant rate, independent of the workers' state."""
    dice = random.Random(3)
    outcomes: Counter[str] = Counter()
    asked: set[asyncio.Task[None]] = set()

    async def ask(options: dict[str, Any]) -> None:
        try:
            await client.chat(**options)
            outcomes["completed"] += 1
        except RequestFailed as failed:
            outcomes[failed.code] += 1

    began_s = time.monotonic()
    while (now_s := time.monotonic()) < began_s + PROOF_S:
        due = int((now_s - began_s) * DEMAND_PER_S)
        for _ in range(due - len(asked)):
            prompt = " ".join(dice.choices(WORDS, k=dice.randint(10, 60)))
            tokens = dice.randint(answer_tokens // 2, answer_tokens)
            options = {
                "prompt": f"{prompt} [[tokens={tokens}]]",
                "role": dice.choice(("chat", "coding")),
                "max_tokens": answer_tokens,
                "timeout_s": PATIENCE_S,
            }
            asked.add(asyncio.create_task(ask(options)))
        await asyncio.sleep(0.02)
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    return outcomes


async def _change(system: System) -> None:
    """Halfway, kill one worker and add one of the other role."""
    await asyncio.sleep(PROOF_S / 2)
    system.workers[0].kill()
    system.workers.append(system.new_worker("coding"))
    await system.workers[-1].start()
