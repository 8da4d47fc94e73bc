"""E4, D7: a job's status and result are read by its id from any process, and it ends once, whatever is killed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from penstock.bus.ids import new_id
from penstock.client.client import Client
from penstock.contract import headers, subjects
from penstock.contract.events import UsageRecorded
from penstock.contract.jobs import JobResult
from penstock.contract.reply import TERMINAL, Completed, Failed, Started, first_seq
from penstock.contract.streams import DEAD, JOBS, REPLIES, REQUESTS
from penstock.errors import RequestFailed, UnknownJob
from penstock.runtime.consumer.dead_letters import store_dead_letter
from penstock.runtime.consumer.delivery import Delivery, Unprocessable
from penstock.runtime.jobs.completion import end_job
from penstock.runtime.jobs.store import JobStore
from penstock.runtime.reply_publisher import publish_terminal
from tests.fault.malformed import request
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.cli_command import run_command
from tests.harness.processes.system import System, shared_system
from tests.harness.records.attempt_audit import audit_attempts
from tests.harness.records.stored_events import stored_events
from tests.harness.requests.jobs import completed_event, job_in_state
from tests.harness.requests.replies import RawPublisher, ask, queue_is_empty, simulator_answer
from tests.harness.suite.waiting import until

HOUR_S = 3_600
STATES = ("queued", "running", "completed", "failed")
LONG = "Tell me of the river. [[tokens=60]]"
CHAINS = {"chat": ("talker",), "fast": ("leaver",), "logic": ("thinker",)}
WORKERS = ("chat", "fast", "coding")
"""`fast` has its own worker, for tests to kill; no worker serves `logic`; `coding` is slow and has a long queue."""
SHORT_S = 3.0
"""Seconds until the deadline of a job for `coding` without a deadline of its own."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    roles = {"coding": {"slots_per_worker": 2, "timeouts": {"batch_total_s": SHORT_S}}}
    config = catalogue(CHAINS, roles=roles, breaker={"failure_threshold": 10_000})
    with shared_system(tmp_path_factory.mktemp("jobs"), *WORKERS, config=config) as running:
        yield running


@pytest.fixture(autouse=True)
async def initial_state(system: System) -> AsyncIterator[None]:
    """Start again, after each test, the processes that it left killed."""
    await system.sim("POST", "reset")
    await system.sim("PUT", "speed", {"tokens_per_second": 0, "latency_ms": 0})
    yield
    if not system.router.alive:
        system.router = system.new_router()
        await system.router.start()
    if not system.workers[1].alive:
        await restart_fast_worker(system)


async def slow_answers(system: System) -> None:
    await system.sim("PUT", "speed", {"tokens_per_second": 60})


async def restart_fast_worker(system: System) -> None:
    system.workers[1] = system.new_worker("fast")
    await system.workers[1].start()


async def expire_replies(publisher: RawPublisher) -> None:
    """Remove the stored replies, as their retention time does."""
    await publisher.js.purge_stream(REPLIES.name)


async def test_e4_a_job_is_submitted_and_its_result_read_by_another_process(
    system: System, publisher: RawPublisher
) -> None:
    await slow_answers(system)
    async with await system.client() as asking:
        job_id = await asking.submit(LONG, role="chat", user="u-1", timeout_s=20 * HOUR_S)
    async with await system.client() as other:
        running = await job_in_state(other, job_id, "running")
        assert (running.attempt, running.model, running.role, running.user) == (1, "talker", "chat", "u-1")
        assert running.deadline_ms is not None
        assert running.deadline_ms - running.submitted_ms > 19 * HOUR_S * 1000
        assert await other.result(job_id) is None
        done = await job_in_state(other, job_id, "completed")
        await expire_replies(publisher)
        reply = await other.result(job_id)
        assert reply is not None
        assert reply.text == await simulator_answer(system, "talker", LONG)
        assert reply.complexity == done.complexity == "simple"
        assert reply.why == running.why == done.why != ""
        assert done.usage == reply.usage
        assert [job.id for job in await other.jobs(state="completed", user="u-1")] == [job_id]
        assert await other.jobs(state="failed", user="u-1") == []


async def test_e4_a_job_has_a_status_right_after_it_was_submitted(client: Client) -> None:
    for _ in range(10):
        job = await client.job(await client.submit("Hm", role="chat"))
        assert job.state in STATES


async def test_d2_a_job_outlasts_an_outage_of_its_provider(system: System, client: Client) -> None:
    """A job makes more than four attempts, the most that an interactive request makes."""
    await system.sim("PUT", "behaviour", {"talker": "503"})
    job_id = await client.submit("Hm", role="chat", timeout_s=4 * HOUR_S)

    async def tried_beyond_four() -> bool:
        return bool((await system.sim("GET", "counts"))["models"].get("talker", {}).get("attempts", 0) > 4)

    await until(tried_beyond_four)
    failure = (await client.job(job_id)).last_failure
    assert failure is not None
    assert (failure.model, failure.status) == ("talker", 503)
    await system.sim("PUT", "behaviour", {"talker": ""})
    done = await job_in_state(client, job_id, "completed", "failed")
    assert done.state == "completed"
    assert done.attempt is not None
    assert done.attempt > 5
    assert done.last_failure is not None
    assert done.last_failure.status == 503


async def test_e4_the_result_of_a_streamed_job_is_kept(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    received = await ask(client, LONG, role="chat", lane="batch")
    await job_in_state(client, received.id, "completed")
    await expire_replies(publisher)
    reply = await client.result(received.id)
    assert reply is not None
    assert reply.text == received.text == await simulator_answer(system, "talker", LONG)


async def test_e4_a_job_without_a_deadline_has_that_of_its_role(client: Client) -> None:
    job = await job_in_state(client, await client.submit("Hm", role="chat"), "completed")
    assert job.deadline_ms is not None
    assert job.deadline_ms - job.submitted_ms == 4 * HOUR_S * 1000


async def test_e4_an_interactive_request_has_no_job_status(client: Client) -> None:
    received = await ask(client, "Hm", role="chat")
    with pytest.raises(UnknownJob):
        await client.job(received.id)


async def test_e4_a_plain_nats_client_reads_status_and_result(
    client: Client, publisher: RawPublisher
) -> None:
    job_id = await client.submit("Hm", role="chat")
    await job_in_state(client, job_id, "completed")
    subject = subjects.job("demo", client.name, job_id)
    job = json.loads((await publisher.nc.request(f"$JS.API.DIRECT.GET.LLM_JOBS.{subject}", b"")).data)
    assert (job["type"], job["state"], job["attempt"]) == ("job", "completed", 1)
    kept = subjects.result("demo", client.name, job_id, job["attempt"])
    result = json.loads((await publisher.nc.request(f"$JS.API.DIRECT.GET.LLM_RESULTS.{kept}", b"")).data)
    assert result["completed"]["response"]["choices"][0]["message"]["content"]


async def test_e4_a_job_rejected_by_admission_reports_it(client: Client) -> None:
    unserved = await client.submit("Hm", role="logic")
    wrong = await client.submit([{"role": "wizard", "content": "Hm"}], role="chat", temperature="hot")
    job = await job_in_state(client, unserved, "failed")
    assert job.error is not None
    assert job.error.code == "role_not_served"
    with pytest.raises(RequestFailed) as refused:
        await client.result(unserved)
    assert refused.value.code == "role_not_served"
    job = await job_in_state(client, wrong, "failed")
    assert job.error is not None
    assert job.error.code == "invalid_request"


async def _fill_the_queue(system: System, client: Client) -> list[str]:
    """Queue jobs with long deadlines for `coding`, more than a job with a short one can wait for; returns their ids."""
    await system.sim("PUT", "speed", {"latency_ms": 500})
    queue = [await client.submit("first", role="coding", timeout_s=60)]
    await job_in_state(client, queue[0], "completed")
    await system.hold_answers()
    queue += [await client.submit("queued", role="coding", user=f"u{n}", timeout_s=60) for n in range(40)]

    async def refused() -> bool:
        job = await job_in_state(client, await client.submit("now", role="coding"), *STATES)
        return job.error is not None and job.error.code == "overloaded"

    await until(refused)
    return queue


async def _empty_the_queue(client: Client, queue: list[str]) -> None:
    for job_id in queue:
        await client.cancel(job_id)
    for job_id in queue:
        await job_in_state(client, job_id, "completed", "failed")


async def test_e4_a_job_that_would_miss_its_deadline_is_rejected(system: System, client: Client) -> None:
    queue = await _fill_the_queue(system, client)
    job = await job_in_state(client, await client.submit("Hm", role="coding", user="u-2"), *STATES)
    await _empty_the_queue(client, queue)
    assert (job.state, job.user, job.attempt) == ("failed", "u-2", 0)
    assert job.error is not None
    assert job.error.code == "overloaded"
    assert job.error.retry_after_s is not None
    assert job.deadline_ms is not None


async def test_e4_d7_a_redriven_letter_that_is_rejected_ends_as_a_failed_job(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    queue = await _fill_the_queue(system, client)
    body = json.dumps(request() | {"client": "publisher", "role": "coding"}).encode()
    delivery = Delivery(
        subject=subjects.request("demo", "chat"),
        data=body,
        headers={},
        ack_subject="",
        sequence=1,
        number=6,
        stored_ns=1_700_000_000_000_000_000,
    )
    await store_dead_letter(
        publisher.js, "router", delivery, Unprocessable("undeliverable", "delivered 5 times")
    )
    letter = (await publisher.js.stream_info(DEAD.name)).state.last_seq
    ran = await run_command(system, "dead", "redrive", str(letter), "--json")
    assert ran.code == 0
    job = await job_in_state(client, ran.json["request"], "failed")
    await _empty_the_queue(client, queue)
    assert job.redriven_from == letter
    assert job.error is not None
    assert job.error.code == "overloaded"
    assert job.error.retry_after_s is not None
    end = await publisher.end(job.id)
    assert isinstance(end, Failed)
    assert end.error == job.error


async def test_e4_a_job_that_waits_past_its_deadline_fails(system: System, client: Client) -> None:
    system.workers[1].kill()
    job_id = await client.submit("Hm", role="fast", timeout_s=1.0)
    job = await job_in_state(client, job_id, "failed")
    assert job.error is not None
    assert job.error.code == "deadline_exceeded"
    assert job.attempt == 0


async def test_d8_a_queued_and_a_running_job_are_cancelled_by_id(system: System, client: Client) -> None:
    system.workers[1].kill()
    waiting = await client.submit("Hm", role="fast")
    assert (await job_in_state(client, waiting, "queued")).attempt == 0
    async with await system.client() as other:
        await other.cancel(waiting)
    job = await job_in_state(client, waiting, "failed")
    assert job.error is not None
    assert job.error.code == "cancelled"
    await restart_fast_worker(system)

    await slow_answers(system)
    running = await client.submit("On and on [[tokens=2000]]", role="fast")
    await job_in_state(client, running, "running")
    await client.cancel(running)
    job = await job_in_state(client, running, "failed")
    assert job.error is not None
    assert (job.error.code, job.attempt, job.model) == ("cancelled", 1, "leaver")


async def test_d7_a_job_of_a_killed_worker_is_attempted_once_more_hours_later(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    """The stored replies are gone by then; the record keeps the attempt number, and the lost attempt is recorded."""
    await slow_answers(system)
    job_id = await client.submit(LONG, role="fast")
    await job_in_state(client, job_id, "running")
    await until(lambda: _asked(system, "leaver", 1))
    system.workers[1].kill()
    await expire_replies(publisher)
    await restart_fast_worker(system)

    job = await job_in_state(client, job_id, "completed")

    assert job.attempt == 2
    assert await system.attempts("leaver") == 2
    end = await publisher.end(job_id, client=client.name)
    assert isinstance(end, Completed)
    assert end.seq == job.end_seq > first_seq(2)

    async def both_recorded() -> bool:
        usage = [event for event in await stored_events(system, UsageRecorded) if event.id == job_id]
        return sorted((event.attempt, event.outcome) for event in usage) == [
            (1, "worker_lost"),
            (2, "completed"),
        ]

    await until(both_recorded)


async def test_f2_an_attempt_announced_but_not_recorded_counts_as_no_call(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    """While the stream of job records rejects writes, every call has a usage event, and nothing else has one."""
    await system.sim("PUT", "behaviour", {"talker": "503"})
    job_id = await client.submit("Hm", role="chat", timeout_s=4 * HOUR_S)
    await until(lambda: _asked(system, "talker", 2), 10)
    config = (await publisher.js.stream_info(JOBS.name)).config
    await publisher.js.update_stream(config.evolve(max_msg_size=1))

    async def announced_without_record() -> bool:
        started = [
            event
            for event in await publisher.stored(job_id, client=client.name)
            if isinstance(event, Started)
        ]
        # The third is announced after the records of the first two were rejected; its own may be written below.
        return len(started) >= (await client.job(job_id)).attempt + 3

    await until(announced_without_record, 30)
    await publisher.js.update_stream(config)
    await system.sim("PUT", "behaviour", {"talker": ""})

    done = await job_in_state(client, job_id, "completed", timeout_s=20)

    assert len(done.unsent) >= 2
    counted = await audit_attempts(system, {job_id})
    counted.check()
    assert counted.lost == set()
    assert counted.made.total() == done.attempt - len(done.unsent)


async def test_d7_an_end_recorded_before_a_kill_is_published(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    await slow_answers(system)
    job_id = await client.submit(LONG, role="fast")
    running = await job_in_state(client, job_id, "running")
    await until(lambda: _asked(system, "leaver", 1))
    system.workers[1].kill()
    jobs, event = JobStore(publisher.js), completed_event(running, "the recorded answer")
    size = await jobs.store_result(running.reply_to, JobResult(completed=event))
    assert (await end_job(jobs, running, event, running.at_ms + 1, size)).written
    assert not [
        each for each in await publisher.stored(job_id, client=client.name) if isinstance(each, TERMINAL)
    ]

    await restart_fast_worker(system)

    end = await publisher.end(job_id, client=client.name)
    assert end == event
    reply = await client.result(job_id)
    assert reply is not None
    assert reply.text == "the recorded answer"
    await until(lambda: queue_is_empty(publisher))
    assert await system.attempts("leaver") == 1, "no request was executed twice"


async def test_d7_an_end_published_before_a_kill_is_recorded(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    """A worker writes in the other order; a job whose end was published must not stay running in any case."""
    await slow_answers(system)
    job_id = await client.submit(LONG, role="fast")
    running = await job_in_state(client, job_id, "running")
    await until(lambda: _asked(system, "leaver", 1))
    system.workers[1].kill()
    event = completed_event(running, "the published answer")
    await publish_terminal(publisher.js, running.reply_to.subject, event)

    await restart_fast_worker(system)

    job = await job_in_state(client, job_id, "completed")
    assert job.end_seq == event.seq
    reply = await client.result(job_id)
    assert reply is not None
    assert reply.text == "the published answer"
    await until(lambda: queue_is_empty(publisher))
    assert await publisher.end(job_id, client=client.name) == event
    assert await system.attempts("leaver") == 1


@pytest.mark.parametrize("moment", ["the record", "the reply"])
async def test_d7_a_worker_killed_at_the_terminal_event_leaves_one_end(
    system: System, client: Client, publisher: RawPublisher, moment: str
) -> None:
    """The end may still have to be published, and the work to be acknowledged."""
    for number in range(3):
        job_id = await client.submit(f"Answer {number} [[tokens=5]]", role="chat")
        await job_in_state(client, job_id, "completed")
    for number in range(3):
        seen = asyncio.Event()

        async def kill(msg, seen=seen) -> None:
            if b'"completed"' in msg.data and not seen.is_set():
                system.workers[1].kill()
                seen.set()

        listening = subjects.JOB_ALL if moment == "the record" else subjects.REPLY_ALL
        subscription = await publisher.nc.subscribe(listening, cb=kill)
        await publisher.nc.flush()
        job_id = await client.submit(f"Kill me {number} [[tokens=5]]", role="fast")
        await asyncio.wait_for(seen.wait(), 20)
        await subscription.unsubscribe()
        await restart_fast_worker(system)
        await until(lambda: queue_is_empty(publisher))
        end = await publisher.end(job_id, client=client.name)
        job = await client.job(job_id)
        assert isinstance(end, Completed)
        assert (job.state, job.end_seq, job.attempt) == ("completed", end.seq, 1)
        assert await client.result(job_id) is not None
    assert await system.attempts("leaver") == 3


async def test_d7_a_request_delivered_after_its_job_ended_is_not_repeated(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    job_id = await client.submit("Once", role="chat")
    ended = await job_in_state(client, job_id, "completed")
    await expire_replies(publisher)
    again = request() | {"id": job_id, "client": client.name, "lane": "batch", "role": "chat"}
    await publisher.js.publish(subjects.request("demo", "chat"), json.dumps(again).encode())

    async def taken() -> bool:
        return (await publisher.js.stream_info(REQUESTS.name)).state.messages == 0

    await until(taken)
    await until(lambda: queue_is_empty(publisher))
    assert await client.job(job_id) == ended
    assert await system.attempts("talker") == 1


async def test_d7_a_second_copy_of_work_in_flight_is_dropped(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    await slow_answers(system)
    seen: asyncio.Queue[tuple[str, bytes, dict[str, str]]] = asyncio.Queue()

    async def keep(msg) -> None:
        await seen.put((msg.subject, msg.data, dict(msg.headers)))

    await publisher.nc.subscribe(subjects.WORK_ALL, cb=keep)
    await publisher.nc.flush()
    job_id = await client.submit(LONG, role="chat")
    subject, data, written = await seen.get()
    await job_in_state(client, job_id, "running")
    extra = {name: value for name, value in written.items() if name.startswith("Penstock-")}
    extra[headers.REPEATED] = "1"
    await publisher.js.publish(subject, data, headers=extra)

    job = await job_in_state(client, job_id, "completed")
    await until(lambda: queue_is_empty(publisher))
    assert job.attempt == 1
    assert await system.attempts("talker") == 1
    assert isinstance(await publisher.end(job_id, client=client.name), Completed)
    usage = [event for event in await stored_events(system, UsageRecorded) if event.id == job_id]
    assert [event.outcome for event in usage] == ["completed"], "the copy recorded no lost worker"


async def test_e4_the_deadline_of_a_job_is_a_day_at_most(client: Client, publisher: RawPublisher) -> None:
    sent = request() | {"id": new_id(), "client": client.name, "role": "chat", "lane": "batch"}
    sent["deadline_ms"] = int((time.time() + 90 * HOUR_S) * 1000)
    await publisher.js.publish(subjects.request("demo", "chat"), json.dumps(sent).encode())
    job = await job_in_state(client, sent["id"], "completed")
    assert job.deadline_ms is not None
    assert job.deadline_ms - job.submitted_ms == 24 * HOUR_S * 1000


@pytest.mark.parametrize("pause", [True, False])
async def test_e4_a_job_with_the_id_of_an_interactive_request_fails(
    system: System, client: Client, publisher: RawPublisher, pause: bool
) -> None:
    first = request() | {"id": new_id(), "client": client.name, "role": "chat"}
    subject = subjects.request("demo", "chat")
    await publisher.js.publish(subject, json.dumps(first).encode())
    if pause:
        assert isinstance(await publisher.end(first["id"], client=client.name), Completed)
    await publisher.js.publish(subject, json.dumps(first | {"lane": "batch"}).encode())

    job = await job_in_state(client, first["id"], "failed")
    assert job.error is not None
    assert job.error.code == "invalid_request"
    assert "in use" in job.error.message
    assert isinstance(await publisher.end(first["id"], client=client.name), Completed)
    await until(lambda: queue_is_empty(publisher))  # work is acknowledged a moment after its end
    assert await system.attempts("talker") == 1


async def _asked(system: System, model: str, times: int) -> bool:
    return await system.attempts(model) == times
