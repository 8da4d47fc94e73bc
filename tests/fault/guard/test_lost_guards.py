"""G4: guards that are killed or frozen while checks run, and a server that restarts: every check has its verdict."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from penstock.bus.connection import ConnectionEvents, close, connect
from penstock.bus.ids import new_id
from penstock.cli.local.nats_server import NatsServer
from penstock.contract.guard.checks import CheckedText, GuardCheck, GuardVerdict
from penstock.runtime.guard.client import GuardClient
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.process import Process
from tests.harness.suite.waiting import until

TEXT = "Write to anna.lee@mail.ru about the order, please."
Start = Callable[[], Process]


@pytest.fixture
def new_guard(own_nats_server: NatsServer, tmp_path: Path):
    config = tmp_path / "catalogue.yaml"
    config.write_text(catalogue(guard={"input": {"personal_data": "redact", "prompt_injection": "allow"}}))
    env = {
        "NATS_URL": own_nats_server.url,
        "PENSTOCK_CATALOGUE": str(config),
        "PENSTOCK_SIMULATOR_URL": "http://127.0.0.1:1",
    }
    processes: list[Process] = []

    def new() -> Process:
        processes.append(Process("services.guard", env=env, log=tmp_path / f"guard-{len(processes)}.log"))
        return processes[-1]

    yield new
    for process in processes:
        process.kill()


@pytest.fixture
async def guards(new_guard: Start) -> tuple[Process, Process]:
    first, second = new_guard(), new_guard()
    await asyncio.gather(first.start(), second.start())
    return first, second


@pytest.fixture
async def client(own_nats_server: NatsServer) -> AsyncIterator[GuardClient]:
    events = ConnectionEvents(own_nats_server.url)
    nc = await connect(own_nats_server.url, name="test", events=events)
    client = GuardClient(nc)
    await client.start()
    yield client
    await client.stop()
    events.closing = True
    await close(nc)


class Load:
    """Checks from eight senders, a few hundred per second."""

    def __init__(self, client: GuardClient) -> None:
        self._client = client
        self._stopped = False
        self.verdicts: list[GuardVerdict] = []
        self._senders = [asyncio.create_task(self._send()) for _ in range(8)]

    async def stop(self) -> None:
        """Wait for the verdicts of all checks that were sent."""
        self._stopped = True
        await asyncio.gather(*self._senders)

    async def more(self, count: int) -> None:
        wanted = len(self.verdicts) + count
        await until(lambda: len(self.verdicts) >= wanted)

    async def _send(self) -> None:
        while not self._stopped:
            texts = (CheckedText(text=TEXT),)
            check = GuardCheck(id=new_id(), account="shop", texts=texts, detectors=("personal_data",))
            self.verdicts.append(await self._client.check(check, 30))
            await asyncio.sleep(0.02)


def has_verdicts_of(load: Load, *guards: Process) -> bool:
    return {verdict.guard for verdict in load.verdicts[-40:]} == {guard.ready["instance"] for guard in guards}


def assert_right(load: Load) -> None:
    assert {verdict.action for verdict in load.verdicts} == {"redact"}
    assert all(verdict.failures == () for verdict in load.verdicts)


async def test_g4_checks_of_a_guard_that_is_killed_are_answered_by_another_one(
    guards: tuple[Process, Process], client: GuardClient, new_guard: Start
) -> None:
    load = Load(client)
    await until(lambda: has_verdicts_of(load, *guards))
    guards[0].kill()
    await until(lambda: has_verdicts_of(load, guards[1]))
    third = new_guard()
    await third.start()
    await until(lambda: has_verdicts_of(load, guards[1], third))
    assert await guards[1].terminate() == 0
    await until(lambda: has_verdicts_of(load, third))
    await load.stop()
    assert_right(load)


async def test_g4_a_frozen_guard_delays_its_checks_and_answers_none_twice(
    guards: tuple[Process, Process], client: GuardClient, own_nats_server: NatsServer
) -> None:
    load = Load(client)
    await until(lambda: has_verdicts_of(load, *guards))
    guards[0].signal(signal.SIGSTOP)
    await load.more(60)
    guards[0].signal(signal.SIGCONT)
    await until(lambda: has_verdicts_of(load, *guards))
    own_nats_server.kill()
    await own_nats_server.start()
    await until(lambda: has_verdicts_of(load, *guards))
    await load.stop()
    assert_right(load)
    assert len({verdict.id for verdict in load.verdicts}) == len(load.verdicts)
