"""D6, D7: two workers execute one request: no attempt number is used twice, and no reader sees two answers in one."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import pytest

from penstock.bus.stored_replies import stored_replies
from penstock.contract import subjects
from penstock.contract.reply import TERMINAL, Completed, Delta, ReplyEvent, Restarted, Started
from penstock.contract.streams import REPLIES, mailbox
from tests.harness.processes.system import System, running_system
from tests.harness.requests.replies import text_of

LONG = "Tell me of the river. [[tokens=150]]"


async def slow_answers(system: System) -> None:
    await system.sim("PUT", "speed", {"tokens_per_second": 50, "first_token_ms": 20, "latency_ms": 0})


class Reader:
    """A streamed request, read in the background."""

    def __init__(self, client) -> None:
        self.events: list[ReplyEvent] = []
        self._stream = client.stream(LONG, role="chat", timeout_s=40)
        self._client = client
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for event in self._stream:
            self.events.append(event)

    async def begun(self, deltas: int = 5) -> None:
        async with asyncio.timeout(25):
            while sum(isinstance(event, Delta) for event in self.events) < deltas:
                await asyncio.sleep(0.01)

    async def stored(self) -> list[ReplyEvent]:
        subject = subjects.reply("demo", self._client.name, self._stream.id)
        async with asyncio.timeout(25):
            while True:
                events = await stored_replies(self._client._nc, subject)
                if any(isinstance(event, TERMINAL) for event in events):
                    return events
                await asyncio.sleep(0.05)


@pytest.mark.prove  # test_partition.py shows the same of six requests at once
async def test_d6_d7_a_stopped_worker_does_not_end_a_request_another_took_over(tmp_path: Path):
    async with running_system(tmp_path, "chat") as system, await system.client() as client:
        expected = (await client.chat(LONG, role="chat")).text
        await system.hold_answers(attempt=1)  # however long the second worker takes to start
        reading = Reader(client)
        await reading.begun(1)  # the three tokens before the hold may come in one delta
        first = system.workers[0]
        system.workers.append(system.new_worker("chat"))
        await system.workers[1].start()
        first.signal(signal.SIGSTOP)
        async with asyncio.timeout(25):
            while not any(isinstance(event, Restarted) for event in reading.events):
                await asyncio.sleep(0.05)
        first.signal(signal.SIGCONT)
        await system.release_answers()
        await reading.task
        stored = await reading.stored()
        assert text_of(reading.events) == expected
        starts = [event for event in stored if isinstance(event, Started)]
        assert [event.attempt for event in starts] == [1, 2]
        ends = [event for event in stored if isinstance(event, TERMINAL)]
        assert [type(end) for end in ends] == [Completed]
        assert ends[0].attempt == 2, "the stopped worker read the stored events before it published an end"


async def test_d6_a_redelivery_by_a_new_consumer_has_a_new_attempt_number(tmp_path: Path):
    async with running_system(tmp_path, "chat", "chat") as system, await system.client() as client:
        expected = (await client.chat(LONG, role="chat")).text
        await slow_answers(system)
        readings = [Reader(client) for _ in range(4)]
        for reading in readings:
            await reading.begun()
        consumer = mailbox("chat", "interactive")[0]
        await client._nc.jetstream().delete_consumer(consumer.stream, consumer.durable)
        for reading in readings:
            await reading.task
            assert isinstance(reading.events[-1], Completed)
            assert text_of(reading.events) == expected
            stored = await reading.stored()
            numbers = [event.attempt for event in stored if isinstance(event, Started)]
            assert len(numbers) == len(set(numbers))
            assert sum(isinstance(event, TERMINAL) for event in stored) == 1


async def test_d6_a_purge_of_the_stored_replies_splices_no_answers(tmp_path: Path):
    async with running_system(tmp_path, "chat") as system, await system.client() as client:
        expected = (await client.chat(LONG, role="chat")).text
        await slow_answers(system)
        reading = Reader(client)
        await reading.begun()
        await client._nc.jetstream().purge_stream(REPLIES.name)
        system.workers[0].kill()
        system.workers.append(system.new_worker("chat"))
        await system.workers[1].start()
        await reading.task
        assert any(isinstance(event, Restarted) for event in reading.events)
        assert text_of(reading.events) == expected


async def test_d7_one_id_of_two_clients_and_two_accounts_is_answered_each_time(tmp_path: Path):
    async with running_system(tmp_path, "chat") as system, await system.client() as client:
        js = client._nc.jetstream()
        received: dict[str, int] = {}

        async def listen(msg) -> None:
            if b'"completed"' in msg.data:
                received[msg.subject] = received.get(msg.subject, 0) + 1

        await client._nc.subscribe("llm.reply.*.*.same", cb=listen)
        wanted = [("red", "one"), ("red", "two"), ("blue", "one")]
        for account, name in wanted:
            body = {"messages": [{"role": "user", "content": "Hi"}]}
            request = {"id": "same", "client": name, "body": body}
            ack = await js.publish(
                f"llm.request.{account}.chat",
                json.dumps(request).encode(),
                headers={"Nats-Msg-Id": f"{account}.{name}.same"},
            )
            assert not ack.duplicate
        async with asyncio.timeout(25):
            while len(received) < 3:
                await asyncio.sleep(0.02)
        assert received == {f"llm.reply.{account}.{name}.same": 1 for account, name in wanted}
