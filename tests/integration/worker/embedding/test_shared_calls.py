"""H2: a text that requests of two accounts need is paid once, whatever their deadlines."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.harness.nats.binary import require_nats_server
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import running_system
from tests.harness.requests.embed import EmbedRequests, vector_of

MODEL = "m-embed"
LATENCY_MS = 2_500
FIRST_S = 1.5


def config(*chain: str) -> str:
    """The provider of each model allows one call at a time."""
    model = {
        "embedding": {"dimensions": 256, "space": "one"},
        "price": {"input": 20_000},
        "limits": {"concurrency": 1},
    }
    return catalogue({"embed": chain}, models=dict.fromkeys(chain, model))


@pytest.mark.parametrize(
    ("chain", "workers", "warm", "join_s"),
    [
        pytest.param((MODEL,), ("embed",), False, 0.5, id="first call of the worker"),
        pytest.param((MODEL,), ("embed",), True, 0.5, id="usually fast provider"),
        pytest.param((MODEL, "m-other"), ("embed",), False, 0.5, id="another model could answer"),
        pytest.param((MODEL,), ("embed",), False, 1.47, id="joined before the deadline"),
        pytest.param((MODEL,), ("embed",), False, 1.8, id="joined after the deadline"),
        pytest.param((MODEL,), ("embed", "embed"), False, 0.5, id="two workers"),
    ],
)
async def test_h2_a_call_is_kept_for_a_request_of_another_account_with_more_time(
    tmp_path: Path, chain: tuple[str, ...], workers: tuple[str, ...], warm: bool, join_s: float
) -> None:
    require_nats_server()
    async with (
        running_system(tmp_path, *workers, config=config(*chain)) as system,
        await system.client() as one,
        await system.client() as two,
    ):
        hurried, patient = await EmbedRequests.started(one, "a"), await EmbedRequests.started(two, "b")
        if warm:
            await hurried.embed("a first text")
        await system.sim("POST", "reset")
        await system.sim(
            "PUT", "speed", {"tokens_per_second": 0, "first_token_ms": 0, "latency_ms": LATENCY_MS}
        )
        first = await hurried.send("a text of two", within_s=FIRST_S)
        await asyncio.sleep(join_s)
        second = await patient.send("a text of two", within_s=10)
        await asyncio.gather(first.ended, second.ended)
        assert first.failure.error.code == "deadline_exceeded"
        assert second.vectors == [vector_of("a text of two")]
        assert await system.attempts() == 1
        assert second.completed.cost_microusd == 0
