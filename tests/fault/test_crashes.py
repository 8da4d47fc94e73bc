"""D7, D9, E2: real processes killed with real signals; every accepted request ends exactly once."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from penstock.bus.stored_replies import stored_replies
from penstock.contract import subjects
from penstock.contract.reply import TERMINAL, Completed, Delta, Failed, ReplyEvent, Restarted
from tests.harness.processes.system import System, running_system
from tests.harness.records.stored_events import usage_count
from tests.harness.requests.load import Load
from tests.harness.requests.replies import text_of
from tests.harness.suite.waiting import until

LONG = "Tell me of the river. [[tokens=120]]"
SHORT = "Tell me of the river. [[tokens=40]]"


async def slow_answers(system: System) -> None:
    await system.sim("PUT", "speed", {"tokens_per_second": 60, "first_token_ms": 20, "latency_ms": 0})


async def whole_answer(client, prompt: str) -> str:
    return (await client.chat(prompt, role="chat")).text


async def stored_ends(client, request_id: str) -> list[ReplyEvent]:
    subject = subjects.reply("demo", client.name, request_id)
    return [event for event in await stored_replies(client._nc, subject) if isinstance(event, TERMINAL)]


async def test_d7_a_worker_killed_in_mid_stream_leads_to_restarted_and_an_answer(tmp_path: Path):
    async with running_system(tmp_path, "chat", "chat") as system, await system.client() as client:
        expected = await whole_answer(client, LONG)
        await slow_answers(system)
        stream = client.stream(LONG, role="chat")
        events: list[ReplyEvent] = []
        killed = False
        async for event in stream:
            events.append(event)
            if isinstance(event, Delta) and len(events) > 8 and not killed:
                killed = True
                started = next(each for each in events if hasattr(each, "worker"))
                (victim,) = [each for each in system.workers if each.ready["instance"] == started.worker]
                victim.kill()
        assert isinstance(events[-1], Completed), events[-1]
        assert any(isinstance(event, Restarted) for event in events)
        assert text_of(events) == expected
        assert events[-1].attempt == 2
        assert len(await stored_ends(client, stream.id)) == 1
        assert await system.attempts() == 3
        assert await usage_count(system, {stream.id}) == 2, "the usage of the killed attempt is recorded, too"
        assert events[-1].unpriced_attempts == 2, "the killed attempt has no known cost either"


async def test_d7_a_router_killed_with_requests_in_flight_loses_none(tmp_path: Path):
    async with running_system(tmp_path, "chat") as system, await system.client() as client:
        await slow_answers(system)
        asking = [asyncio.create_task(client.chat(SHORT, role="chat", stream=True)) for _ in range(40)]
        await asyncio.sleep(0.05)  # some of them are accepted, and some are not
        system.router.kill()
        system.router = system.new_router()
        await system.router.start()
        replies = await asyncio.gather(*asking)
        assert {reply.finish_reason for reply in replies} == {"stop"}
        for reply in replies:
            assert len(await stored_ends(client, reply.id)) == 1
        assert await system.attempts() == 40, "no request was executed twice"


async def test_d9_sigterm_drains_without_losing_or_repeating_a_request(tmp_path: Path):
    async with running_system(tmp_path, "chat", "chat") as system, await system.client() as client:
        await system.hold_answers()
        asking = [asyncio.create_task(client.chat(LONG, role="chat")) for _ in range(24)]
        await until(lambda: _attempted(system, 24))
        stopping = [asyncio.create_task(each.terminate()) for each in (system.workers[0], system.router)]
        await asyncio.sleep(0.5)  # both have received the signal
        await system.release_answers()
        codes = await asyncio.gather(*stopping)
        replies = await asyncio.gather(*asking)
        assert codes == [0, 0]
        assert {reply.finish_reason for reply in replies} == {"stop"}
        assert {reply.attempts for reply in replies} == {1}
        assert await system.attempts() == 24


async def test_d9_requests_wait_while_router_and_worker_are_replaced(tmp_path: Path):
    async with running_system(tmp_path, "chat") as system, await system.client() as client:
        await slow_answers(system)
        load = Load(client, at_once=8)
        async with load.running():
            await load.more(8)
            assert await asyncio.gather(system.workers[0].terminate(), system.router.terminate()) == [0, 0]
            system.router, system.workers[0] = system.new_router(), system.new_worker("chat")
            await system.router.start()  # without a worker for a moment
            await system.workers[0].start()
            await load.more(8)
        assert load.outcomes == {"completed": len(load.received)}
        assert not any(each.restarts for each in load.received)
        assert await system.attempts() == len(load.received)


async def test_d9_work_that_outlasts_the_drain_is_returned_and_done_elsewhere(tmp_path: Path):
    async with (
        running_system(tmp_path, "chat", "chat", env={"PENSTOCK_DRAIN_S": "0.3"}) as system,
        await system.client() as client,
    ):
        expected = await whole_answer(client, LONG)
        await system.hold_answers()
        asking = [asyncio.create_task(client.chat(LONG, role="chat", stream=True)) for _ in range(8)]
        await until(lambda: _attempted(system, 9))
        assert await system.workers[0].terminate() == 0
        await system.release_answers()
        replies = await asyncio.gather(*asking)
        assert {reply.text for reply in replies} == {expected}
        counts = await system.sim("GET", "counts")
        ids = {reply.id for reply in replies}
        assert await usage_count(system, ids) == counts["total_attempts"] - 1


async def test_d7_every_request_ends_once_after_a_restart_of_nats_server(tmp_path: Path):
    async with running_system(tmp_path, "chat") as system, await system.client() as client:
        expected = await whole_answer(client, LONG)
        await slow_answers(system)
        streams = [client.stream(LONG, role="chat") for _ in range(6)]

        async def read(stream) -> list[ReplyEvent]:
            return [event async for event in stream]

        reading = [asyncio.create_task(read(stream)) for stream in streams]
        await asyncio.sleep(0.7)
        system.nats.kill()
        await asyncio.sleep(0.3)
        await system.nats.start()
        for stream, events in zip(streams, await asyncio.gather(*reading), strict=True):
            assert isinstance(events[-1], Completed), events[-1]
            assert text_of(events) == expected
            assert len(await stored_ends(client, stream.id)) == 1


async def test_e2_a_disconnected_subscriber_resumes_with_each_event_once(tmp_path: Path):
    async with running_system(tmp_path, "chat") as system:
        await slow_answers(system)
        first_client = await system.client(name="first")
        stream = first_client.stream(LONG, role="chat")
        stream.detach()
        seen: list[ReplyEvent] = []
        async for event in stream:
            seen.append(event)
            if len(seen) == 12:
                break
        await first_client.close()
        await asyncio.sleep(0.3)
        async with await system.client(name="second") as second:
            resumed = [
                event async for event in second.resume(stream.id, after_seq=seen[-1].seq, client="first")
            ]
            stored = await stored_to_the_end(second, stream.id)
        together = [event.seq for event in (*seen, *resumed)]
        assert together == [event.seq for event in stored]
        assert together == sorted(set(together))
        assert isinstance(resumed[-1], Completed)


async def stored_to_the_end(client, request_id: str) -> list[ReplyEvent]:
    """JetStream stores a little later than it delivers."""
    async with asyncio.timeout(20):
        while True:
            stored = await stored_replies(client._nc, subjects.reply("demo", "first", request_id))
            if stored and isinstance(stored[-1], Completed):
                return stored
            await asyncio.sleep(0.02)


async def test_d7_a_request_that_kills_each_worker_ends_as_a_dead_letter(tmp_path: Path):
    env = {"PENSTOCK_MAX_DELIVER": "2"}
    async with running_system(tmp_path, "chat", env=env) as system, await system.client() as client:
        await system.sim("PUT", "behaviour", {"m-chat": "silent"})
        stream = client.stream("Poison", role="chat", timeout_s=50)
        reading = asyncio.create_task(_all(stream))
        for delivery in (1, 2):
            await until(lambda delivery=delivery: _attempted(system, delivery))
            system.workers[0].kill()
            system.workers[0] = system.new_worker("chat")
            await system.workers[0].start()
        events = await reading
        assert isinstance(events[-1], Failed)
        assert events[-1].error.code == "undeliverable"
        letters = (await client._nc.jetstream().stream_info("LLM_DEAD")).state.messages
        assert letters == 1
        assert await system.attempts() == 2


async def _attempted(system: System, times: int) -> bool:
    return await system.attempts() == times


async def _all(stream) -> list[ReplyEvent]:
    return [event async for event in stream]


async def test_d9_sigint_stops_a_process_with_exit_code_0(tmp_path: Path):
    async with running_system(tmp_path, "chat") as system:
        for process in (system.router, system.workers[0]):
            process.signal(signal.SIGINT)
            assert await process.ended() == 0
