"""D7, C3: clocks of processes that are minutes off, or step by an hour, change nothing for any request."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.cli_command import run_command
from tests.harness.processes.client_process import ClientProcess
from tests.harness.processes.process import Process
from tests.harness.processes.system import System, shared_system
from tests.harness.processes.wrong_clock import WrongClocks, client_with_clock
from tests.harness.records.ledger_books import nothing_held
from tests.harness.requests.replies import ask
from tests.harness.suite.waiting import until

OFF_S = 600
HOUR_S = 3_600
REQUESTS = 10
TIMEOUT_S = 20
SERVICES = ("router", "worker", "ledger", "edge")
PRICE = {"input": 1_000_000, "output": 1_000_000}
BUDGETS = {"accounts": {"shop": {"microusd_per_month": 1_000_000_000}}}


class Clocked:
    """A worker whose clock is right, and a second worker, a router, a ledger and an edge that are minutes off from
    their start, each in another direction than the one it talks to most.
    """

    def __init__(self, system: System, clocks: WrongClocks) -> None:
        self.system = system
        self.clocks = clocks
        self.edge: Process

    async def start(self) -> None:
        system, env = self.system, self.clocks.env
        system.workers.append(system.new_worker("chat", **env("worker", -OFF_S)))
        self.edge = system.new_edge(**env("edge", OFF_S))
        await asyncio.gather(system.workers[-1].start(), self.edge.start())

    def set_right(self) -> None:
        for name in SERVICES:
            self.clocks.set(name, 0)


@pytest.fixture(scope="module")
def clocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clocked]:
    directory = tmp_path_factory.mktemp("clocks")
    clocks = WrongClocks(directory)
    config = catalogue(
        {"chat": ("talker",)},
        models={"talker": {"price": PRICE}},
        budgets=BUDGETS,
        roles={"chat": {"slots_per_worker": 16}},
    )
    env_of = {
        "services.router": clocks.env("router", OFF_S),
        "services.ledger": clocks.env("ledger", -OFF_S),
    }
    with shared_system(directory, "chat", config=config, ledgers=1, env_of=env_of) as system:
        made = Clocked(system, clocks)
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            runner.run(made.start())
        yield made


@pytest.fixture
async def client_process(clocked: Clocked) -> AsyncIterator[ClientProcess]:
    async with client_with_clock(clocked.system.nats.url, clocked.clocks, OFF_S) as opened:
        yield opened


@pytest.fixture(autouse=True)
async def at_full_speed(clocked: Clocked) -> None:
    await clocked.system.sim("POST", "reset")


async def ends_of(system: System, number: int = REQUESTS, timeout_s: float = TIMEOUT_S) -> Counter[str]:
    """How so many requests end, of a client whose clock is right."""
    async with await system.client(account="shop") as client:
        asked = (
            ask(client, f"Request {each} [[tokens=5]]", role="chat", timeout_s=timeout_s)
            for each in range(number)
        )
        return Counter(reply.code or "completed" for reply in await asyncio.gather(*asked))


async def over_http(clocked: Clocked) -> int:
    body = {"model": "chat", "messages": [{"role": "user", "content": "hi [[tokens=5]]"}]}
    url, headers = (
        f"{clocked.edge.ready['url']}/v1/chat/completions",
        {"x-penstock-timeout-s": str(TIMEOUT_S)},
    )
    async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=headers) as answer:
        return answer.status


async def test_d7_services_minutes_off_from_their_start_answer_every_request(clocked: Clocked) -> None:
    assert await ends_of(clocked.system) == {"completed": REQUESTS}
    assert await over_http(clocked) == 200
    await nothing_held(clocked.system, "shop", 10)


async def test_j3_a_service_tells_how_far_its_clock_is_off(clocked: Clocked) -> None:
    clocked.set_right()
    clocked.clocks.set("router", HOUR_S)
    clocked.clocks.set("worker", -OFF_S)
    await until_status(clocked, "clock 3,600 s ahead", "clock 600 s behind")
    (metric,) = re.findall(
        r"^penstock_clock_offset_seconds (\S+)",
        await clocked.system.metrics(clocked.system.workers[-1]),
        re.MULTILINE,
    )
    assert abs(float(metric) + OFF_S) < 1


async def until_status(clocked: Clocked, *texts: str) -> None:
    """Wait until `penstock status` shows these clocks and no other: the next heartbeats have them."""

    async def has_all() -> bool:
        shown = (await run_command(clocked.system, "status")).out
        return shown.count("clock") == len(texts) and all(text in shown for text in texts)

    await until(has_all)


@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S])
@pytest.mark.parametrize("name", SERVICES)
async def test_d7_a_step_of_one_clock_while_requests_run_changes_nothing(
    clocked: Clocked, name: str, step_s: int
) -> None:
    clocked.set_right()
    await clocked.system.hold_answers()
    asking = asyncio.create_task(ends_of(clocked.system))
    http = asyncio.create_task(over_http(clocked))
    await until(lambda: _all_called(clocked.system, REQUESTS + 1))
    clocked.clocks.set(name, step_s)
    await clocked.system.release_answers()
    assert await asking == {"completed": REQUESTS}
    assert await http == 200
    assert await ends_of(clocked.system) == {"completed": REQUESTS}
    assert await over_http(clocked) == 200


async def test_c3_a_deadline_is_kept_to_the_second_whatever_the_clocks_show(clocked: Clocked) -> None:
    for ahead_s, name in zip((OFF_S, -OFF_S, HOUR_S, -HOUR_S), SERVICES, strict=True):
        clocked.clocks.set(name, ahead_s)
    await clocked.system.hold_answers()
    async with await clocked.system.client(account="shop") as client:
        reply = await ask(client, "Wait for me.", role="chat", timeout_s=2)
    assert reply.code == "deadline_exceeded"
    assert 1.9 < reply.took_s < 5


@pytest.mark.parametrize("ahead_s", [OFF_S, -OFF_S])
async def test_d7_a_client_minutes_off_gets_every_answer(
    clocked: Clocked, client_process: ClientProcess, ahead_s: int
) -> None:
    clocked.clocks.set("client", ahead_s)
    assert (await client_process.ask(REQUESTS, TIMEOUT_S))["ends"] == {"completed": REQUESTS}


async def test_d7_a_step_of_the_clock_of_a_client_that_waits_changes_nothing(
    clocked: Clocked, client_process: ClientProcess
) -> None:
    for step_s in (HOUR_S, -HOUR_S):
        await clocked.system.sim("POST", "reset")
        await clocked.system.hold_answers()
        asking = asyncio.create_task(client_process.ask(REQUESTS, TIMEOUT_S))
        await until(lambda: _all_called(clocked.system, REQUESTS))
        clocked.clocks.set("client", step_s)
        await clocked.system.release_answers()
        assert (await asking)["ends"] == {"completed": REQUESTS}


async def _all_called(system: System, number: int) -> bool:
    return await system.attempts("talker") >= number
