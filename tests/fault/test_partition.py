"""D6, D7, F2: a worker that was stopped, or cut off from NATS, continues while another executes the same requests."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from penstock.bus.stored_replies import stored_replies
from penstock.client.client import Client
from penstock.contract import subjects
from penstock.contract.reply import TERMINAL, ReplyEvent, Started
from tests.harness.nats.partition import Partition
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, running_system
from tests.harness.records.attempt_audit import audit_attempts
from tests.harness.requests.replies import ReceivedReply, ask, simulator_answer
from tests.harness.suite.waiting import until

LONG = "Tell me of the river. [[tokens=40]]"
REQUESTS = 6
LONG_TIMEOUTS = {"first_token_s": 60.0, "non_streaming_s": 60.0, "between_tokens_s": 60.0}
CONFIG = catalogue(roles={"chat": {"slots_per_worker": REQUESTS, "timeouts": LONG_TIMEOUTS}})
"""The first worker's slots are all in use, so that no open pull of its own takes a redelivered request back."""

both_ways = pytest.mark.parametrize(
    "streamed", [True, pytest.param(False, marks=pytest.mark.prove)], ids=["streamed", "whole"]
)
"""Whole answers end in the same code; only `make prove` runs these cases."""


class InFlight:
    """Requests that the first worker executes, and the stored events of each."""

    def __init__(self, client: Client, *, streamed: bool) -> None:
        self._client = client
        self.asking = [
            asyncio.create_task(
                ask(
                    client,
                    f"{number}. {LONG}",
                    role="chat",
                    user=f"u{number}",  # so that all of them are of the same rank
                    stream=streamed,
                    timeout_s=80,
                )
            )
            for number in range(REQUESTS)
        ]

    async def stored(self, system: System) -> list[list[ReplyEvent]]:
        """The stored events of each request that has begun."""
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

    async def ended(self, system: System) -> bool:
        stored = await self.stored(system)
        return all(any(isinstance(event, TERMINAL) for event in events) for events in stored)

    async def answered(self) -> list[ReceivedReply]:
        return await asyncio.gather(*self.asking)


async def check(
    system: System, client: Client, in_flight: InFlight, received: list[ReceivedReply]
) -> list[ReplyEvent]:
    """Assert one correct answer, one end and two recorded attempts for each request. Returns the ends."""
    for number, each in enumerate(received):
        assert each.text == await simulator_answer(system, "m-chat", f"{number}. {LONG}")
    ends = [
        [event for event in events if isinstance(event, TERMINAL)]
        for events in await in_flight.stored(system)
    ]
    assert [len(each) for each in ends] == [1] * len(received)
    audit = await audit_attempts(system, {each.id for each in received})
    audit.check()
    assert audit.made.total() == 2 * len(received), "two workers called the provider once each"
    return [each[0] for each in ends]


@both_ways
async def test_d6_d7_a_worker_stopped_beyond_ack_wait_publishes_no_end(tmp_path: Path, streamed: bool):
    async with running_system(tmp_path, "chat", config=CONFIG) as system, await system.client() as client:
        await system.hold_answers()
        in_flight = InFlight(client, streamed=streamed)
        await in_flight.begun(system, attempt=1)
        first = system.workers[0]
        system.workers.append(system.new_worker("chat"))
        await system.workers[1].start()
        first.signal(signal.SIGSTOP)
        await in_flight.begun(system, attempt=2)
        await system.hold_answers(attempt=2)
        await until(lambda: answers_made(system, REQUESTS))  # they wait in the sockets of the stopped worker
        first.signal(signal.SIGCONT)
        await asyncio.sleep(1.0)  # time in which it could wrongly publish their ends
        await system.release_answers()
        received = await in_flight.answered()
        ends = await check(system, client, in_flight, received)
        assert {end.attempt for end in ends} == {2}, (
            "the first worker read the stored events before it published an end"
        )


@both_ways
async def test_d6_d7_the_first_stored_end_of_two_workers_is_the_only_one(tmp_path: Path, streamed: bool):
    """The worker that is cut off does not notice it: its ends arrive when the partition heals, before the other's."""
    async with (
        running_system(tmp_path, config=CONFIG) as system,
        Partition.before(system.nats.url) as partition,
    ):
        system.workers[0].kill()
        system.workers[0] = system.new_worker("chat", NATS_URL=partition.url)
        await system.workers[0].start()
        async with await system.client() as client:
            await system.hold_answers()
            in_flight = InFlight(client, streamed=streamed)
            await in_flight.begun(system, attempt=1)
            system.workers.append(system.new_worker("chat"))
            await system.workers[1].start()
            partition.cut()
            await in_flight.begun(system, attempt=2)
            await system.hold_answers(attempt=2)
            await until(lambda: answers_made(system, REQUESTS))
            partition.heal()
            await until(lambda: in_flight.ended(system))
            await system.release_answers()
            received = await in_flight.answered()
            ends = await check(system, client, in_flight, received)
            assert {end.attempt for end in ends} == {1}, "the first stored end is the end of the request"


async def answers_made(system: System, number: int) -> bool:
    return (await system.sim("GET", "counts"))["models"]["m-chat"]["ok"] == number
