"""A7 over the real system, with two providers: shares, the cooldown of a failed provider, and its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import yaml

from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.process import Process
from tests.harness.processes.system import System, running_system
from tests.harness.requests.replies import ask
from tests.harness.suite.waiting import until

COOLDOWN_S = 3.0


def config() -> str:
    chains = {"chat": ("main", "other", "spare")}
    made = yaml.safe_load(
        catalogue(
            chains, role={"retry": {"initial_backoff_s": 0.02, "max_backoff_s": 0.1, "same_model_retries": 0}}
        )
    )
    made["providers"]["second"] = {"base_url": "${SECOND_URL}/v1"}
    made["models"]["other"]["provider"] = "second"
    made["roles"]["chat"]["chain"] = [{"main": 70, "other": 30}, "spare"]
    made["breaker"] = {"failure_threshold": 1000}
    return yaml.safe_dump({**made, "provider_cooldown_s": COOLDOWN_S})


class Second:
    """The second provider: another simulator."""

    def __init__(self, process: Process) -> None:
        self._url = f"{process.ready['url']}/sim"

    async def attempts(self) -> int:
        async with aiohttp.ClientSession() as session, session.get(f"{self._url}/counts") as answer:
            return int((await answer.json())["total_attempts"])

    async def behave(self, behaviour: str) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.put(f"{self._url}/behaviour", json={"other": behaviour}) as answer,
        ):
            assert answer.status == 200


@asynccontextmanager
async def two_providers(tmp_path: Path) -> AsyncIterator[tuple[System, Second]]:
    process = Process(
        "services.simulator",
        "--port",
        "0",
        env={"SIMULATOR_MODELS": "other"},
        log=tmp_path / "second.log",
    )
    await process.start()
    try:
        env = {"SECOND_URL": process.ready["url"]}
        async with running_system(tmp_path, "chat", config=config(), env=env) as system:
            yield system, Second(process)
    finally:
        process.kill()


async def test_a7_requests_are_shared_and_a_failed_provider_gets_a_cooldown(tmp_path: Path) -> None:
    async with two_providers(tmp_path) as (system, second), await system.client() as client:

        async def ask_all(number: int) -> list[str]:
            received = await asyncio.gather(
                *(ask(client, f"Question {n}", role="chat") for n in range(number))
            )
            return [each.completed.model for each in received]

        # 70 : 30; six standard deviations of 300 draws are 47.
        answered = [model for _ in range(10) for model in await ask_all(30)]
        others = answered.count("other")
        assert 90 - 47 < others < 90 + 47
        assert await second.attempts() == others
        assert await system.attempts("main") == 300 - others
        assert await system.attempts("spare") == 0

        # After one failure the other model of the step answers all requests.
        await second.behave("503")
        failed_after = others + 1
        async with asyncio.timeout(20):
            while await second.attempts() == others:
                before_s = time.monotonic()
                received = await ask(client, "Failing?", role="chat")
                failed_s = time.monotonic()
        assert received.models == ["other", "main"], "the other model of the step is called next"
        rest = [await ask(client, f"Around it {n}", role="chat") for n in range(30)]
        assert time.monotonic() < before_s + COOLDOWN_S, "the machine is too slow for this test"
        assert {tuple(each.models) for each in rest} == {("main",)}
        assert await second.attempts() == failed_after
        assert "the provider second failed: weighted steps avoid it" in system.workers[0].log.read_text()

        # The provider is used again after the cooldown, and not before.
        await second.behave("")

        async def returned() -> bool:
            await ask(client, "Back?", role="chat")
            return await second.attempts() > failed_after

        await until(returned)
        assert time.monotonic() > before_s + COOLDOWN_S
        assert time.monotonic() < failed_s + COOLDOWN_S + 2
        again = [model for _ in range(10) for model in await ask_all(30)]
        assert 90 - 47 < again.count("other") < 90 + 47
        assert await system.attempts("spare") == 0


async def test_a7_when_both_providers_failed_the_weights_decide(tmp_path: Path) -> None:
    async with two_providers(tmp_path) as (system, second), await system.client() as client:
        await second.behave("503")
        await system.sim("PUT", "behaviour", {"main": "503"})

        first = await ask(client, "Both fail?", role="chat")
        assert sorted(first.models[:2]) == ["main", "other"]
        assert first.completed.model == "spare"

        # Both providers cool down, so their order is unchanged: both are tried before the next step, by their weights.
        await second.behave("")
        received = [await ask(client, f"Which? {n}", role="chat") for n in range(20)]
        assert {each.completed.model for each in received} == {"other"}
        assert {tuple(each.models) for each in received} <= {("main", "other"), ("other",)}
        assert any(each.models[0] == "main" for each in received)
