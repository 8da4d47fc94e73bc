"""D6, D7, F2: a worker that was stopped, or cut off from NATS, goes on while another does the same work."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from penstock.bus.stored_replies import stored_replies
from penstock.client.client import Client
from penstock.contract import subjects
from penstock.contract.reply import TERMINAL, ReplyEvent, Started
from tests.harness.attempt_audit import audit_attempts
from tests.harness.catalogues import catalogue
from tests.harness.partition import Partition
from tests.harness.replies import ReceivedReply, ask, simulator_answer, until
from tests.harness.system import System, running_system

LONG = "Tell me of the river. [[tokens=150]]"
"""Three seconds at the speed below; work goes to another after two."""
REQUESTS = 6
CONFIG = catalogue(roles={"chat": {"concurrency": REQUESTS}})
"""The first worker is full, so that what is taken from it is not drawn back by a pull of its own that is still open."""
SPEED = {"tokens_per_second": 50, "first_token_ms": 20, "latency_ms": 0}

both_ways = pytest.mark.parametrize(
    "streamed", [True, pytest.param(False, marks=pytest.mark.prove)], ids=["streamed", "whole"]
)
"""Whole answers take the same way to their end; `make prove` looks at them, too."""


class Held:
    """Requests in the hands of the first worker, and what is stored of each."""

    def __init__(self, client: Client, *, streamed: bool) -> None:
        self._client = client
        self.asking = [
            asyncio.create_task(
                ask(
                    client,
                    f"{number}. {LONG}",
                    role="chat",
                    user=f"u{number}",  # so that all of them are of the rank in which the first worker is full
                    stream=streamed,
                    timeout_s=40,
                )
            )
            for number in range(REQUESTS)
        ]

    async def stored(self, system: System) -> list[list[ReplyEvent]]:
        """Of each request that has begun."""
        labels = await system.sim("GET", "labels")
        ids = sorted({label.rpartition(".")[0] for label in labels if label})
        return [
            await stored_replies(self._client._nc, subjects.reply("demo", self._client.name, each))
            for each in ids
        ]

    async def begun(self, system: System, attempt: int) -> None:
        """Wait until the attempt of this number has been announced for each."""

        async def announced() -> bool:
            stored = await self.stored(system)
            starts = [event for events in stored for event in events if isinstance(event, Started)]
            return sum(event.attempt == attempt for event in starts) == REQUESTS

        await until(announced)

    async def answered(self) -> list[ReceivedReply]:
        return await asyncio.gather(*self.asking)


async def check(
    system: System, client: Client, held: Held, received: list[ReceivedReply]
) -> list[ReplyEvent]:
    """Each has the one right answer and one end; both attempts are in the ledger. Returns the ends."""
    await system.sim("PUT", "speed", {"tokens_per_second": 0})
    for number, each in enumerate(received):
        assert each.text == await simulator_answer(system, "m-chat", f"{number}. {LONG}")
    ends = [
        [event for event in events if isinstance(event, TERMINAL)] for events in await held.stored(system)
    ]
    assert [len(each) for each in ends] == [1] * len(received)
    account = await audit_attempts(system, {each.id for each in received})
    account.check()
    assert account.made.total() == 2 * len(received), "each was in the hands of two, once"
    return [each[0] for each in ends]


@both_ways
async def test_a_worker_that_was_stopped_beyond_ack_wait_tells_no_end_d6_d7(tmp_path: Path, streamed: bool):
    async with running_system(tmp_path, "chat", config=CONFIG) as system, await system.client() as client:
        await system.sim("PUT", "speed", SPEED)
        held = Held(client, streamed=streamed)
        await held.begun(system, attempt=1)
        first = system.workers[0]
        system.workers.append(system.new_worker("chat"))
        await system.workers[1].start()
        first.signal(signal.SIGSTOP)
        await held.begun(system, attempt=2)
        first.signal(signal.SIGCONT)
        received = await held.answered()
        ends = await check(system, client, held, received)
        assert {end.attempt for end in ends} == {2}, "it looked before it told the end"


@both_ways
async def test_a_worker_cut_off_from_nats_may_end_first_and_its_answer_stands_alone_d6_d7(
    tmp_path: Path, streamed: bool
):
    """It cannot know that it is cut off: its ends arrive with the wire's healing, before the other worker has any."""
    async with (
        running_system(tmp_path, config=CONFIG) as system,
        Partition.before(system.nats.url) as partition,
    ):
        system.workers[0].kill()
        system.workers[0] = system.new_worker("chat", NATS_URL=partition.url)
        await system.workers[0].start()
        async with await system.client() as client:
            await system.sim("PUT", "speed", SPEED)
            held = Held(client, streamed=streamed)
            await held.begun(system, attempt=1)
            system.workers.append(system.new_worker("chat"))
            await system.workers[1].start()
            partition.cut()
            await held.begun(system, attempt=2)
            await until(lambda: answers_made(system, REQUESTS))  # by the first: the other began later
            partition.heal()
            received = await held.answered()
            ends = await check(system, client, held, received)
            assert {end.attempt for end in ends} == {1}, (
                "the first end that is stored is the end for everybody"
            )


async def answers_made(system: System, number: int) -> bool:
    return (await system.sim("GET", "counts"))["models"]["m-chat"]["ok"] == number
