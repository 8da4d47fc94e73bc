"""D7, D9: the NATS server restarts while answers are streamed, and while nothing can be accepted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import running_system
from tests.harness.requests.edge_client import chat_body, open_stream, read_stream, request, text_of
from tests.harness.requests.replies import simulator_answer
from tests.harness.suite.waiting import until

PROMPT = "Tell me of the bus [[tokens=150]]"


@pytest.mark.timeout(180)
async def test_d7_a_restart_of_nats_neither_loses_nor_repeats_text(tmp_path: Path):
    async with running_system(tmp_path, "chat", config=catalogue({"chat": ("talker",)})) as system:
        edge = system.new_edge(PENSTOCK_EDGE_WAIT_S="0.5")
        await edge.start()
        url = edge.ready["url"]
        chat = f"{url}/v1/chat/completions"
        await system.sim("PUT", "speed", {"tokens_per_second": 40})
        async with open_stream("POST", chat, chat_body(PROMPT, "chat", stream=True)) as stream:
            events = stream.events()
            seen = [await anext(events) for _ in range(20)]
            system.nats.kill()
            await until(lambda: is_ready(url, 503))
            waiting = asyncio.create_task(request("POST", chat, chat_body("Meanwhile", "chat")))
            await asyncio.sleep(1)
            await system.nats.start()
            seen += [event async for event in events]
        assert [event.number for event in seen] == list(range(len(seen)))
        assert seen[-1].data == "[DONE]"
        assert text_of(seen) == await simulator_answer(system, "talker", PROMPT)
        assert (await waiting).status == 200
        await until(lambda: is_ready(url, 200))
        again = await read_stream("GET", f"{chat}/{seen[0].json['id']}")
        assert again == seen


async def test_d9_a_request_that_the_bus_cannot_accept_is_a_503(tmp_path: Path):
    async with running_system(tmp_path, "chat", config=catalogue({"chat": ("talker",)})) as system:
        edge = system.new_edge()
        await edge.start()
        url = edge.ready["url"]
        chat = f"{url}/v1/chat/completions"
        assert (await request("POST", chat, chat_body("Before", "chat"))).status == 200
        system.nats.kill()
        await until(lambda: is_ready(url, 503))
        for stream in (False, True):
            body = chat_body("Meanwhile", "chat", stream=stream)
            answer = await request("POST", chat, body, headers={"x-penstock-timeout-s": "1"})
            assert (answer.status, answer.error["code"]) == (503, "bus_unavailable")
            assert answer.headers.get("x-should-retry") != "false"
        await system.nats.start()
        await until(lambda: is_ready(url, 200))
        assert (await request("POST", chat, chat_body("After", "chat"))).status == 200


async def test_d9_an_edge_that_starts_while_nats_is_away_answers_at_once(
    tmp_path: Path, free_port: Callable[[], int]
):
    async with running_system(tmp_path, "chat", config=catalogue({"chat": ("talker",)})) as system:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        chat = f"{url}/v1/chat/completions"
        edge = system.new_edge(PENSTOCK_EDGE_PORT=str(port))
        system.nats.kill()
        starting = asyncio.create_task(edge.start())
        await until(lambda: listens(port))
        assert (await request("GET", f"{url}/healthz")).status == 200
        readiness = await request("GET", f"{url}/readyz")
        assert readiness.status == 503
        assert any("NATS" in missing for missing in readiness.json["missing"])
        assert (await request("GET", f"{url}/metrics")).status == 200
        for method, path in (("GET", "/v1/models"), ("POST", "/v1/chat/completions"), ("GET", "/v1/nosuch")):
            answer = await request(method, f"{url}{path}", chat_body("Before", "chat"))
            assert (answer.status, answer.error["code"]) == (503, "bus_unavailable"), path
            assert answer.headers["retry-after"] == "1"
        await system.nats.start()
        await starting
        await until(lambda: is_ready(url, 200))
        assert (await request("POST", chat, chat_body("After", "chat"))).status == 200
        assert await edge.terminate() == 0


async def listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def is_ready(url: str, status: int) -> bool:
    return (await request("GET", f"{url}/readyz")).status == status
