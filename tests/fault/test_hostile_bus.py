"""D7, D9: messages and deletions on the bus can harm the messages of their sender, but not the gateway."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import aiohttp
import pytest

from penstock.bus.direct_get import read_page
from penstock.client.client import Client
from penstock.contract import headers, subjects
from penstock.contract.reply import Failed
from penstock.contract.streams import CANCELS, DEAD, EVENTS, PRESENCE, REPLIES, WORK
from tests.harness.nats.raw_nats import RawMessage, RawNats
from tests.harness.processes.system import System, shared_system
from tests.harness.requests.replies import RawPublisher, ask
from tests.harness.suite.waiting import until

UNSERVED = subjects.work("logic", "interactive", 0, "a7c")
HOSTILE_HEADERS = (
    {headers.DEADLINE_MS: "9" * 5000},
    {headers.DEADLINE_MS: "1", headers.REPLY_SUBJECT: "llm..x"},
    {headers.DEADLINE_MS: "1", headers.REPLY_SUBJECT: "$JS.API.STREAM.DELETE.LLM_CANCELS"},
    {headers.DEADLINE_MS: "1", headers.REPLY_SUBJECT: "no.subscriber"},
)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Only the role chat has a worker."""
    with shared_system(tmp_path_factory.mktemp("hostile"), "chat") as running:
        yield running
        for process in (running.router, *running.workers):
            assert "Traceback" not in process.log.read_text(), process.log.read_text()[-3000:]


async def answers_at_once(client: Client) -> None:
    received = await ask(client, "Still there?", role="chat", timeout_s=10)
    assert received.completed.model == "m-chat"
    assert received.took_s < 2


def reconnections(system: System) -> int:
    logs = [process.log.read_text() for process in (system.router, *system.workers)]
    return sum(log.count("connected to NATS again") for log in logs)


async def dead_letters(publisher: RawPublisher, subject: str) -> list[dict[str, str]]:
    """The headers of the dead letters of messages that were published on `subject`."""
    page = await read_page(publisher.nc, DEAD.name, subjects.DEAD_ALL)
    letters = [msg.headers or {} for msg in page.messages]
    return [letter for letter in letters if letter[headers.DEAD_SUBJECT] == subject]


async def health(system: System) -> int:
    url = f"{system.router.ready['http']}/health"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status


@pytest.mark.parametrize(
    ("subject", "dead_subject"),
    [
        ("llm.request.d\udcff.chat", r"llm.request.d\xff.chat"),
        ("llm.request.demo.\udcff", r"llm.request.demo.\xff"),
        ("llm.request.a\x0bb.chat", "llm.request.a\x0bb.chat"),
        ("llm.work.chat.\udcff", "llm.work.chat.\ufffd"),
        ("llm.work.chat.batch.0.\udcff", "llm.work.chat.batch.0.\\xff"),
        ("llm.work.\udcff.batch", "llm.work.\ufffd.batch"),
        ("llm.cancel.demo.\udcff", None),
        (f"$KV.{PRESENCE.name}.worker.\udcff", None),
        ("llm.reply.demo.reader.\udcff", None),
        ("llm.event.usage.\udcff", None),
    ],
)
async def test_d7_an_invalid_byte_in_a_subject_stops_no_consumer(
    system: System, publisher: RawPublisher, subject: str, dead_subject: str | None
) -> None:
    async with await system.client(name="reader") as client:
        before = reconnections(system)
        async with RawNats.opened(system.nats.url) as raw_nats:
            assert "seq" in (await raw_nats.publish([RawMessage(subject, b"{}")]))[0]
        await answers_at_once(client)
        if dead_subject is not None:

            async def dead_lettered() -> bool:
                return bool(await dead_letters(publisher, dead_subject))

            await until(dead_lettered)
        await answers_at_once(client)
        assert reconnections(system) == before


async def test_d7_a_router_starts_with_any_content_of_the_presence_bucket(
    system: System, client: Client
) -> None:
    junk = [
        RawMessage(f"$KV.{PRESENCE.name}.{key}", value)
        for key in ("worker.w", "worker.\udcff", "\x0b", "a.b.c")
        for value in (b"garbage", b"\xff", b"[" * 3000)
    ]
    async with RawNats.opened(system.nats.url) as raw_nats:
        await raw_nats.publish(junk)
    system.router.kill()
    system.router = system.new_router()
    await system.router.start()
    await answers_at_once(client)


async def test_d7_hostile_work_delays_no_sweep_and_is_dead_lettered(
    system: System, publisher: RawPublisher
) -> None:
    for hostile in HOSTILE_HEADERS:
        await publisher.js.publish(UNSERVED, b"x", headers=hostile)
    address = subjects.reply("demo", "publisher", "valid")
    deadline = str(int(time.time() * 1000))
    await publisher.js.publish(
        UNSERVED, b"x", headers={headers.REPLY_SUBJECT: address, headers.DEADLINE_MS: deadline}
    )
    end = await publisher.end("valid")
    assert isinstance(end, Failed)
    assert end.error.code == "deadline_exceeded"

    async def all_dead_lettered() -> bool:
        return len(await dead_letters(publisher, UNSERVED)) == len(HOSTILE_HEADERS)

    await until(all_dead_lettered, 40)  # each may delay the sweep by three seconds
    assert (await publisher.js.stream_info(CANCELS.name)).config.name == CANCELS.name
    state = (await publisher.js.stream_info(WORK.name, subjects_filter=UNSERVED)).state
    assert not state.subjects


async def test_d9_deleted_streams_and_buckets_cost_no_request(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    gone = (REPLIES.name, EVENTS.name, CANCELS.name, f"KV_{PRESENCE.name}")
    for name in gone:
        await publisher.js.delete_stream(name)
    asked = [ask(client, f"question {number}", role="chat", timeout_s=30) for number in range(20)]
    received = await asyncio.gather(*asked)
    assert {each.completed.model for each in received} == {"m-chat"}
    assert max(each.took_s for each in received) < 12
    assert set(gone) <= {info.config.name for info in await publisher.js.streams_info()}
    await answers_at_once(client)


async def test_d9_a_router_that_cannot_provision_is_unhealthy(
    system: System, publisher: RawPublisher
) -> None:
    assert await health(system) == 204
    await publisher.js.delete_stream(CANCELS.name)
    await publisher.js.add_stream(name="FOREIGN", subjects=[subjects.CANCEL_ALL])

    async def unhealthy() -> bool:
        return await health(system) == 503

    await until(unhealthy)
    await publisher.js.delete_stream("FOREIGN")

    async def healthy() -> bool:
        return await health(system) == 204

    await until(healthy)
    assert (await publisher.js.stream_info(CANCELS.name)).config.name == CANCELS.name
