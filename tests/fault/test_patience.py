"""D2, D3, D4: a provider that restarts, a worker that cannot reach its provider, and second tries of the same model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from penstock.client import Client
from tests.harness.asking import Heard, ask
from tests.harness.catalogues import catalogue
from tests.harness.process import Process
from tests.harness.system import System, running

SOLO = {"chat": ("solo",), "fast": ("first", "second")}
AWAY_S = 5.0


async def ask_many(client: Client, number: int, role: str = "chat") -> list[Heard]:
    return list(await asyncio.gather(*(ask(client, f"Question {n}", role=role) for n in range(number))))


@asynccontextmanager
async def restarting(tmp_path: Path, workers: int) -> AsyncIterator[tuple[System, Client]]:
    """The provider is gone, and comes back on the same port while the body runs; nothing listens meanwhile."""
    async with running(tmp_path, *(["all"] * workers), config=catalogue(SOLO)) as system:
        port = urlsplit(system.simulator.ready["url"]).port
        system.simulator.kill()
        env = {"SIMULATOR_MODELS": "solo,first,second"}
        back = Process("services.simulator", "--port", str(port), env=env, log=tmp_path / "back.log")

        async def return_later() -> None:
            await asyncio.sleep(AWAY_S)
            await back.start()

        returning = asyncio.create_task(return_later())
        try:
            async with await system.client() as client:
                yield system, client
            await returning
        finally:
            returning.cancel()
            back.kill()


@pytest.mark.parametrize(("role", "workers"), [("chat", 1), ("fast", 1), ("chat", 2)])
async def test_d2_a_provider_that_restarts_in_five_seconds_costs_no_request(
    tmp_path: Path, role: str, workers: int
) -> None:
    """One request alone, whose attempts are spread; the breaker does not open."""
    async with restarting(tmp_path, workers) as (_, client):
        heard = await ask(client, "Are you there?", role=role)
    assert heard.completed
    assert AWAY_S < heard.took_s < 15


@pytest.mark.parametrize("workers", [1, 2])
async def test_d2_nor_does_it_cost_many_at_once_that_open_the_breaker(tmp_path: Path, workers: int) -> None:
    async with restarting(tmp_path, workers) as (_, client):
        heard = await ask_many(client, 30)
    assert {each.completed.model for each in heard} == {"solo"}
    assert max(each.took_s for each in heard) < 20


@asynccontextmanager
async def one_cut_off(tmp_path: Path, free_port: int) -> AsyncIterator[System]:
    """Two workers; the second one's provider refuses connections."""
    async with running(tmp_path, "all", config=catalogue(SOLO)) as system:
        cut_off = system.new_worker("all", PENSTOCK_SIMULATOR_URL=f"http://127.0.0.1:{free_port}")
        await cut_off.start()
        system.workers.append(cut_off)
        yield system


async def test_d3_many_requests_beside_a_worker_that_is_cut_off_are_all_answered_within_two_seconds(
    tmp_path: Path, free_port
) -> None:
    async with one_cut_off(tmp_path, free_port()) as system, await system.client() as client:
        heard = await ask_many(client, 30)
        log = system.workers[1].log.read_text()
    assert len([each for each in heard if each.completed]) == 30
    assert max(each.took_s for each in heard) < 2
    assert "goes back into the queue" in log, "the worker that was cut off took some"


async def test_d3_so_are_single_requests_before_a_breaker_opens(tmp_path: Path, free_port) -> None:
    async with one_cut_off(tmp_path, free_port()) as system, await system.client() as client:
        heard = [await ask(client, f"Question {n}", role="chat") for n in range(30)]
        log = system.workers[1].log.read_text()
    assert len([each for each in heard if each.completed]) == 30
    assert max(each.took_s for each in heard) < 2
    assert "goes back into the queue" in log


async def test_d3_without_another_worker_it_keeps_what_it_holds_until_the_provider_is_back(
    tmp_path: Path,
) -> None:
    async with restarting(tmp_path, 1) as (system, client):
        heard = await ask_many(client, 12)
        log = system.workers[0].log.read_text()
    assert len([each for each in heard if each.completed]) == 12
    assert "goes back into the queue" not in log


async def test_d4_one_5xx_tries_the_same_model_once_more(tmp_path: Path) -> None:
    async with running(tmp_path, "all", config=catalogue(SOLO)) as system, await system.client() as client:
        await system.sim("PUT", "behaviour", {"first": "flaky=0.5"})
        flaky = [await ask(client, f"Flaky {n}", role="fast") for n in range(4)]
        await system.sim("PUT", "behaviour", {"first": "503"})
        down = await ask(client, "Down", role="fast")
    assert {tuple(each.models) for each in flaky} <= {("first",), ("first", "first")}
    assert down.models == ["first", "first", "second"]


async def test_d5_a_short_429_is_waited_out_once_and_a_long_one_is_not(tmp_path: Path) -> None:
    config = catalogue(SOLO, roles={"fast": {"wait_s": 1.0}})
    async with running(tmp_path, "all", config=config) as system, await system.client() as client:
        await system.sim("PUT", "behaviour", {"first": "429=0.4"})
        asked = asyncio.create_task(ask(client, "Short", role="fast"))
        while await system.attempts("first") == 0:
            await asyncio.sleep(0.01)
        await system.sim("PUT", "behaviour", {"first": ""})
        waited = await asked
        await system.sim("PUT", "behaviour", {"first": "429=0.4"})
        twice = await ask(client, "Short, and again", role="fast")
        await asyncio.sleep(1.0)
        await system.sim("PUT", "behaviour", {"first": "429=5"})
        moved_on = await ask(client, "Long", role="fast")
    assert waited.models == ["first", "first"]
    assert 0.4 <= waited.took_s < 1.5
    assert twice.models == ["first", "first", "second"]
    assert moved_on.models == ["first", "second"]
    assert moved_on.took_s < 0.4
