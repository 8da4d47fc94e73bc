"""D7, C3: the wall clock of nats-server is minutes off, or steps by an hour, and nothing changes for any request."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest

from penstock.cli.local.nats_server import NatsServer, find_nats_server
from penstock.client.client import Client
from tests.harness.nats.server_clock import ServerClock, require_server_clock
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.processes.wrong_clock import until_followed
from tests.harness.records.attempt_audit import audit_attempts
from tests.harness.requests.replies import ReceivedReply, ask
from tests.harness.suite.waiting import until

OFF_S = 600
HOUR_S = 3_600
REQUESTS = 12
SLOTS = 8
"""Of both workers together. Each may run one request more, of the second rank (decision 0011), so that at least two of
the first requests wait in the mailbox."""
ACK_WAIT_S = 2.0
AWAY_S = 4
"""How long the clock shows other times before it shows the same again."""


class Stepping:
    def __init__(self, system: System, clock: ServerClock) -> None:
        self.system = system
        self._clock = clock

    def set(self, ahead_s: int) -> None:
        assert isinstance(self.system.nats, NatsServer)
        assert self.system.nats.pid is not None
        self._clock.set(self.system.nats.pid, ahead_s)

    async def back_to_start(self) -> None:
        """Return when all services follow the clock that the server had at its start."""
        self.set(OFF_S)
        await until_followed(self.system, [self.system.router, *self.system.workers], OFF_S)

    async def until_busy(self) -> None:
        """Return when all slots of the workers are in use."""
        calls = 0

        async def busy() -> bool:
            nonlocal calls
            calls = await self.system.attempts("m-chat")
            return calls >= SLOTS

        await until(busy, found=lambda: f"({calls} calls of the provider, not {SLOTS})")


@pytest.fixture(scope="module")
def stepping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stepping]:
    require_server_clock()
    directory = tmp_path_factory.mktemp("clock")
    clock = ServerClock(directory, find_nats_server(), OFF_S)
    nats = NatsServer(directory / "nats", binary=clock.binary)
    config = catalogue({"chat": ["m-chat"]}, roles={"chat": {"slots_per_worker": SLOTS // 2}})
    env = {"PENSTOCK_ACK_WAIT_S": str(ACK_WAIT_S)}
    with shared_system(directory, "chat", "chat", config=config, env=env, nats=nats) as system:
        yield Stepping(system, clock)


@pytest.fixture
def system(stepping: Stepping) -> System:
    return stepping.system


@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S])
async def test_d7_a_step_of_the_server_ends_no_request_and_calls_no_provider_twice(
    stepping: Stepping, client: Client, step_s: int
) -> None:
    system = stepping.system
    await stepping.back_to_start()
    await system.sim("POST", "reset")
    await system.hold_answers()
    asked = [asyncio.create_task(_ask(client, number)) for number in range(REQUESTS)]
    await stepping.until_busy()
    stepping.set(OFF_S + step_s)
    later = [asyncio.create_task(_ask(client, REQUESTS + number)) for number in range(REQUESTS)]
    await asyncio.sleep(3 * ACK_WAIT_S)
    await system.release_answers()
    replies = await asyncio.gather(*asked, *later)
    assert Counter(each.code for each in replies) == {None: 2 * REQUESTS}
    audit = await audit_attempts(system, {each.id for each in replies})
    audit.check()
    assert audit.made.total() == 2 * REQUESTS
    assert max(each.completed.timings.total_ms for each in replies) < 60_000


async def test_c3_a_deadline_is_kept_while_the_clock_of_the_server_steps(
    stepping: Stepping, client: Client
) -> None:
    system = stepping.system
    for step_s in (HOUR_S, -HOUR_S):
        await stepping.back_to_start()
        await system.hold_answers()
        asked = asyncio.create_task(ask(client, "Wait for me.", role="chat", timeout_s=4))
        await asyncio.sleep(1)
        stepping.set(OFF_S + step_s)
        reply = await asked
        await system.release_answers()
        assert reply.code == "deadline_exceeded"
        assert 3.9 < reply.took_s < 8


async def test_c3_a_step_to_a_time_that_the_server_showed_before_takes_no_time_from_a_deadline(
    stepping: Stepping, client: Client
) -> None:
    system = stepping.system
    await stepping.back_to_start()
    stepping.set(OFF_S + HOUR_S)
    await until_followed(system, [system.router, *system.workers], OFF_S + HOUR_S)
    await stepping.back_to_start()
    await asyncio.sleep(AWAY_S)
    stepping.set(OFF_S + HOUR_S - AWAY_S)
    reply = await ask(client, "When was this?", role="chat", timeout_s=60)
    assert reply.completed.timings.total_ms / 1000 < reply.took_s + AWAY_S / 2


async def _ask(client: Client, number: int) -> ReceivedReply:
    return await ask(client, f"Question {number}", role="chat", stream=number % 2 == 0, timeout_s=60)
