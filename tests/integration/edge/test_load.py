"""D10, E1: many streams, idle connections and stopped readers at one edge. tests/prove has 200 streams at once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.process import Process
from tests.harness.processes.system import System, shared_system
from tests.harness.providers.scripted_provider import (
    DONE,
    ScriptedProvider,
    chunk,
    head,
    scripted_provider,
    whole,
)
from tests.harness.requests.edge_client import chat_body, open_stream, request, text_of
from tests.harness.requests.raw_http import POST_CHAT, connected
from tests.harness.requests.stream_load import longest_gap_ms, stream_at_once
from tests.harness.suite.waiting import until

WRITE_S = 4.0
TEXT = "x" * 15_000
CHUNKS = 400
"""6 MB a stream: the kernel takes up to 4 MB of it before the edge waits."""
WHOLE_BYTES = 6_000_000
CONNECTIONS = 1_000


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedProvider]:
    with scripted_provider("big") as running:
        events = [head(), *[chunk(TEXT)] * CHUNKS, chunk(None, "stop"), DONE]
        answer = [head(content_type="application/json") + whole("y" * WHOLE_BYTES)]
        running.answer = lambda call: events if call.body.get("stream") else answer
        yield running


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, provider: ScriptedProvider) -> Iterator[System]:
    config = catalogue(
        {"chat": ("talker",), "logic": ("big",)},
        models={"big": {"provider": "scripted"}},
        role={"slots_per_worker": 256},
        providers={
            "simulator": {"base_url": "${PENSTOCK_SIMULATOR_URL}/v1"},
            "scripted": {"base_url": provider.url},
        },
    )
    with shared_system(
        tmp_path_factory.mktemp("load"), "chat", "logic", config=config, fresh=True
    ) as running:
        yield running


@pytest.fixture
async def edge(system: System) -> AsyncIterator[Process]:
    """A new process for each test, because its memory is measured; it has served a request before."""
    process = system.new_edge(PENSTOCK_EDGE_WRITE_S=str(WRITE_S))
    await process.start()
    answer = await request("POST", f"{process.ready['url']}/v1/chat/completions", chat_body("First", "chat"))
    assert answer.status == 200
    yield process
    process.kill()


async def test_e1_streams_at_once_are_whole_and_without_long_stalls(system: System, edge: Process):
    """Other processes only lengthen the gaps: the shortest of a few rounds counts."""
    await system.sim("PUT", "speed", {"tokens_per_second": 50})
    prompts = [f"Stream {number} [[tokens=40]]" for number in range(40)]
    direct = await stream_at_once(system.simulator.ready["url"], "talker", prompts)
    added_ms, memory_mb = [], []
    for _ in range(4):
        streams = await stream_at_once(edge.ready["url"], "chat", prompts)
        assert all(stream.is_whole for stream in streams)
        assert [stream.text for stream in streams] == [stream.text for stream in direct]
        added_ms.append(longest_gap_ms(streams) - longest_gap_ms(direct))
        memory_mb.append(edge.rss_mb())
    await system.sim("PUT", "speed", {"tokens_per_second": 0})
    assert min(added_ms) < 1_000, added_ms
    assert memory_mb[-1] - memory_mb[1] < 5, memory_mb


async def test_d10_a_thousand_idle_connections_cost_little(edge: Process):
    url = edge.ready["url"]
    before_mb = edge.rss_mb()
    async with idle_connections(url, CONNECTIONS):
        assert (edge.rss_mb() - before_mb) * 1000 / CONNECTIONS < 30, "KB each"
        spent_s, began_s = edge.cpu_s(), time.monotonic()
        await asyncio.sleep(1)
        assert (edge.cpu_s() - spent_s) / (time.monotonic() - began_s) < 0.1, "share of a processor"
        answer = await request("POST", f"{url}/v1/chat/completions", chat_body("Beside them", "chat"))
        assert answer.status == 200


async def test_d10_readers_that_stop_cost_little_and_slow_no_other_request(edge: Process):
    """Each is sent 6 MB; what it does not read stays in the store. Then it is disconnected."""
    url, readers = edge.ready["url"], 20
    before_mb = edge.rss_mb()
    async with stopped_readers(url, readers, stream=True):
        await until(lambda: open_requests_are(url, readers))
        for _ in range(10):
            began_s = time.monotonic()
            answer = await request("POST", f"{url}/v1/chat/completions", chat_body("Beside them", "chat"))
            assert answer.status == 200
            assert time.monotonic() - began_s < 5
            await asyncio.sleep(0.1)
        assert edge.rss_mb() - before_mb < 20 + readers * 1.5
        await until(lambda: open_requests_are(url, 0))


async def test_d10_a_whole_answer_waits_once_in_memory(edge: Process):
    url, readers = edge.ready["url"], 5
    before_mb = edge.rss_mb()
    async with stopped_readers(url, readers, stream=False):
        await until(lambda: open_requests_are(url, readers))
        await until(lambda: open_requests_are(url, 0))
    assert edge.rss_mb() - before_mb < 40 + readers * 2 * WHOLE_BYTES / 1e6


async def test_e2_a_reader_that_pauses_has_the_whole_text(edge: Process):
    """The events for which there was no room are read from the store."""
    chat = f"{edge.ready['url']}/v1/chat/completions"
    async with open_stream("POST", chat, chat_body("All of it", "logic", stream=True)) as stream:
        events = stream.events()
        seen = [await anext(events)]
        await asyncio.sleep(WRITE_S / 2)
        seen += [event async for event in events]
    assert text_of(seen) == TEXT * CHUNKS
    assert seen[-1].data == "[DONE]"


@asynccontextmanager
async def idle_connections(url: str, count: int) -> AsyncIterator[None]:
    """Connections that have sent a request each, and keep alive."""
    address = url.removeprefix("http://")
    opened: list[asyncio.StreamWriter] = []

    async def one() -> None:
        reader, writer = await asyncio.open_connection(*address.split(":"))
        opened.append(writer)
        writer.write(f"GET /healthz HTTP/1.1\r\nhost: {address}\r\n\r\n".encode())
        assert b" 200 " in await reader.readuntil(b"}")

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(one())
        yield
    finally:
        for writer in opened:
            writer.close()


@asynccontextmanager
async def stopped_readers(url: str, count: int, *, stream: bool) -> AsyncIterator[None]:
    """Clients that send a request for a long answer, and read nothing."""
    body = json.dumps(chat_body("Everything", "logic", stream=stream)).encode()
    # With `restart` the edge keeps no copy of the text that it has sent.
    sent = POST_CHAT + b"x-penstock-rescue: restart\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)

    async def one() -> None:
        async with connected(url, receive_bytes=4_096) as opened:
            await asyncio.get_running_loop().sock_sendall(opened, sent)
            await asyncio.sleep(60)

    reading = [asyncio.create_task(one()) for _ in range(count)]
    try:
        yield
    finally:
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)


async def open_requests_are(url: str, count: int) -> bool:
    metrics = (await request("GET", f"{url}/metrics")).body.decode()
    return f'penstock_edge_open_requests{{route="/v1/chat/completions"}} {float(count)}' in metrics
