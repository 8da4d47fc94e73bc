"""D7: load over NATS and HTTP while the disk is full for a while, and beside a server that is only slow."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from msgspec import Struct

from penstock import NotAccepted, PenstockError
from penstock.cli.local.nats_supervision import keep_nats_running
from penstock.client.client import Client
from tests.harness.nats.failing_disk import fill, small_disk
from tests.harness.processes.system import System, running_system
from tests.harness.requests.edge_client import chat_body, request
from tests.harness.suite.proofs import report_figures
from tests.harness.suite.waiting import until

pytestmark = [pytest.mark.prove, pytest.mark.timeout(280)]

WITHIN_S = 2.0
FULL_FROM_S, FULL_UNTIL_S, LOAD_S = 4.0, 24.0, 34.0
EVERY_S = 1.0
LONG = "Hello. [[tokens=5]] " + 4_000 * "word "
"""More than the last page of a file has room for."""
STOPPED_S, RUNNING_S = 1.5, 0.05


class Outcome(Struct, frozen=True):
    what: str
    sent_s: float
    seconds: float


async def over_nats(client: Client) -> str:
    try:
        await client.chat(LONG, role="chat", timeout_s=60)
    except NotAccepted:
        return "refused"
    except PenstockError as error:
        return "refused" if error.code == "overloaded" else f"{type(error).__name__} {error.code}"
    return "answered"


async def over_http(url: str) -> str:
    answer = await request("POST", f"{url}/v1/chat/completions", chat_body(LONG, "chat"))
    if answer.status == 200:
        return "answered"
    is_refused = answer.status in {429, 503} and "retry-after" in answer.headers
    return "refused" if is_refused else f"{answer.status} {answer.error['code']}"


async def load(send: Callable[[], Awaitable[str]], began_s: float) -> list[Outcome]:
    async def one() -> Outcome:
        sent_s = time.monotonic()
        return Outcome(await send(), sent_s - began_s, time.monotonic() - sent_s)

    running = []
    while time.monotonic() < began_s + LOAD_S:
        running.append(asyncio.create_task(one()))
        await asyncio.sleep(EVERY_S)
    return await asyncio.gather(*running)


async def test_d7_under_load_a_full_disk_loses_nothing_and_is_said_at_once(tmp_path: Path) -> None:
    reports: list[str] = []
    with small_disk(tmp_path / "nats", 256) as disk:
        system = System(tmp_path)
        try:
            await system.start("chat")
            edge = system.new_edge()
            await edge.start()
            keeping = asyncio.create_task(keep_nats_running(system.nats, reports.append, time.monotonic))
            async with (
                await system.client(account="shop") as shop,
                await system.client(account="bank") as bank,
            ):
                began_s = time.monotonic()
                sources = {
                    "shop": lambda: over_nats(shop),
                    "bank": lambda: over_nats(bank),
                    "http": lambda: over_http(edge.ready["url"]),
                }
                loads = {name: asyncio.create_task(load(send, began_s)) for name, send in sources.items()}
                await asyncio.sleep(FULL_FROM_S)
                await asyncio.to_thread(fill, disk / "filler")
                await asyncio.sleep(FULL_UNTIL_S - FULL_FROM_S)
                (disk / "filler").unlink()
                outcomes = {name: await each for name, each in loads.items()}
            keeping.cancel()
        finally:
            await system.stop()
    for name, found in outcomes.items():
        refused = [each.seconds for each in found if each.what == "refused"]
        late = max(each.seconds for each in found if each.what == "answered")
        counts = Counter(each.what for each in found)
        report_figures(
            f"{name}: {dict(counts)}; refused after {max(refused):.2f} s at most; slowest answer {late:.1f} s"
        )
        assert counts.keys() == {"answered", "refused"}
        assert max(refused) < WITHIN_S
        assert all(each.what == "answered" for each in found if each.sent_s > FULL_UNTIL_S + 6)
    assert len(reports) == 2, reports
    assert "is full" in reports[0]


async def test_d7_a_slow_server_is_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    async with running_system(tmp_path, "chat") as system, await system.client() as client:
        slow = asyncio.create_task(stop_again_and_again(system.nats.pid))
        found = await asyncio.gather(*(over_nats(client) for _ in range(20)))
        slow.cancel()
        assert Counter(found) == {"answered": 20}
        await until(lambda: answered(client), 20)


async def answered(client: Client) -> bool:
    return await over_nats(client) == "answered"


async def stop_again_and_again(pid: int) -> None:
    try:
        while True:
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(STOPPED_S)
            os.kill(pid, signal.SIGCONT)
            await asyncio.sleep(RUNNING_S)
    finally:
        os.kill(pid, signal.SIGCONT)
