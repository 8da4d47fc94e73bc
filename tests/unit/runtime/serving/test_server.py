"""The HTTP server of a service: no timers while idle, and the time of each response."""

from __future__ import annotations

import asyncio
import time
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import uvicorn

from penstock.runtime.serving.listening import bound_socket, url_of
from penstock.runtime.serving.server import Server
from tests.harness.suite.virtual_time import VirtualLoop


class _CountingLoop(VirtualLoop):
    def __init__(self) -> None:
        super().__init__()
        self.timers = 0

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        self.timers += 1
        return super().call_at(when, callback, *args, context=context)


def test_an_idle_server_sets_no_timer_and_stops_when_told():
    loop = _CountingLoop()
    listener = bound_socket("127.0.0.1", 0)

    async def idle() -> int:
        server = Server(_config())
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0)
        before = loop.timers
        await asyncio.sleep(3600)
        set_meanwhile = loop.timers - before - 1
        server.stop()
        await serving
        return set_meanwhile

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        assert runner.run(idle()) == 0


def test_each_response_has_the_date_at_which_it_was_sent():
    asyncio.run(_check_dates())


async def _check_dates() -> None:
    listener = bound_socket("127.0.0.1", 0)
    server = Server(_config())
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    async with aiohttp.ClientSession() as session:
        for pause_s in (0.0, 1.1):
            await asyncio.sleep(pause_s)
            asked_s = int(time.time())
            async with session.get(url_of(listener)) as response:
                assert response.status == 204
                assert response.headers["server"] == "uvicorn"
                (date,) = response.headers.getall("date")
            assert asked_s <= parsedate_to_datetime(date).timestamp() <= time.time()
    server.stop()
    await serving


def _config() -> uvicorn.Config:
    return uvicorn.Config(_app, log_config=None, access_log=False, lifespan="off", ws="none", loop="none")


async def _app(_: Any, __: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})
