"""D7, C3: each process in turn is ten minutes off from its start, then steps by an hour; the server as well."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from penstock.cli.local.nats_server import NatsServer, find_nats_server
from penstock.contract.retrieval.documents import Document
from penstock.errors import PenstockError
from tests.harness.indexer.index_requests import retrieval_catalogue
from tests.harness.nats.server_clock import ServerClock, require_server_clock
from tests.harness.processes.client_process import ClientProcess, client_process
from tests.harness.processes.system import System
from tests.harness.processes.wrong_clock import WrongClocks, client_with_clock, until_followed
from tests.harness.suite.proofs import report_figures

pytestmark = [pytest.mark.prove, pytest.mark.timeout(280)]

OFF_S = 600
HOUR_S = 3_600
CHATS = 100
OVER_HTTP = 20
JOBS = 10
DOCUMENTS = 5
TIMEOUT_S = 30
ALL = CHATS + OVER_HTTP + JOBS + DOCUMENTS
CHAT_CALLS = CHATS + OVER_HTTP + JOBS
CONFIG = retrieval_catalogue(
    budgets={"when_price_unknown": "count_tokens", "accounts": {"shop": {"tokens_per_day": 10**12}}}
)
SERVICES = ("router", "worker", "ledger", "indexer", "edge")
EACH = (*SERVICES, "client")
EVERY_OTHER = "all but nats-server"
ENV = {"PENSTOCK_ACK_WAIT_S": "10"}
"""The default. With the 2 s of other tests a busy machine is enough for a message to be delivered again."""


@pytest.mark.parametrize("off_s", [OFF_S, -OFF_S])
@pytest.mark.parametrize("name", [*EACH, EVERY_OTHER])
async def test_d7_a_wrong_clock_changes_nothing(tmp_path: Path, name: str, off_s: int) -> None:
    clocks = WrongClocks(tmp_path)
    wrong = EACH if name == EVERY_OTHER else (name,)
    env_of = {f"services.{each}": clocks.env(each, off_s) for each in wrong if each in SERVICES}
    system = System(tmp_path, config=CONFIG, env=ENV, ledgers=1, indexers=1, env_of=env_of)
    try:
        await system.start()
        if name == "worker":  # beside one whose clock is right
            healthy = system.new_worker(LD_PRELOAD="")
            await healthy.start()
        edge = system.new_edge()
        await edge.start()
        own_clock_s = off_s if "client" in wrong else 0
        async with client_with_clock(system.nats.url, clocks, own_clock_s) as client:
            from_start = await ends_of_all(system, edge.ready["url"], client, "before")
            stepping = asyncio.create_task(ends_of_all(system, edge.ready["url"], client, "after"))
            await asyncio.sleep(0.3)  # some are on their way
            for each in wrong:
                clocks.set(each, HOUR_S if off_s > 0 else -HOUR_S)
            stepped = await stepping
        calls = await system.attempts("m-chat")
    finally:
        await system.stop()
    report_figures(
        f"{name}, {off_s:+} s from its start: {from_start['completed']} of {ALL} answered {_rest(from_start)}; "
        f"stepped by an hour: {stepped['completed']} of {ALL} {_rest(stepped)}; {calls} provider calls for "
        f"{2 * CHAT_CALLS} chat requests"
    )
    assert from_start == stepped == {"completed": ALL}
    assert calls == 2 * CHAT_CALLS


@pytest.mark.parametrize("off_s", [OFF_S, -OFF_S])
async def test_d7_a_wrong_clock_of_the_server_changes_nothing(tmp_path: Path, off_s: int) -> None:
    """The clock itself is wrong, so that its stamps, its redeliveries and its deletions by age are as well."""
    require_server_clock()
    clock = ServerClock(tmp_path, find_nats_server(), off_s)
    nats = NatsServer(tmp_path / "nats", binary=clock.binary)
    system = System(tmp_path, config=CONFIG, env=ENV, ledgers=1, indexers=1, nats=nats)
    try:
        await system.start("all", "all")
        edge = system.new_edge()
        await edge.start()
        async with client_process(system.nats.url) as client:
            ends = {"from the start": await ends_of_all(system, edge.ready["url"], client, "before")}
            every = [system.router, *system.workers, *system.ledgers, *system.indexers, edge]
            now_s = 0
            for ahead_s in (HOUR_S, -HOUR_S, 0):
                await until_followed(system, every, off_s + now_s)  # two steps in a few seconds count as one
                now_s = ahead_s
                asked = asyncio.create_task(ends_of_all(system, edge.ready["url"], client, f"to {ahead_s}"))
                await asyncio.sleep(0.3)  # some are on their way
                assert nats.pid is not None
                clock.set(nats.pid, off_s + ahead_s)
                ends[f"stepped to {ahead_s:+} s"] = await asked
        calls = await system.attempts("m-chat")
    finally:
        await system.stop()
    figures = {when: f"{found['completed']} of {ALL} {_rest(found)}".strip() for when, found in ends.items()}
    report_figures(
        f"nats-server, {off_s:+} s from its start: {figures}; {calls} provider calls for {len(ends) * CHAT_CALLS} "
        "chat requests"
    )
    assert all(found == {"completed": ALL} for found in ends.values())
    assert calls == len(ends) * CHAT_CALLS


async def ends_of_all(system: System, edge_url: str, client: ClientProcess, label: str) -> Counter[str]:
    """How chats, requests over HTTP, jobs and index requests end."""
    found = await asyncio.gather(
        client.ask(CHATS, TIMEOUT_S),
        *(over_http(edge_url, f"{label} {number}") for number in range(OVER_HTTP)),
        *(of_job(system, f"{label} {number}") for number in range(JOBS)),
        *(of_document(system, f"{label}-{number}") for number in range(DOCUMENTS)),
    )
    ends = Counter[str]()
    for each in found:
        ends.update([each] if isinstance(each, str) else each["ends"])
    return ends


async def over_http(url: str, text: str) -> str:
    body = {"model": "chat", "messages": [{"role": "user", "content": f"{text} [[tokens=5]]"}]}
    headers = {"x-penstock-timeout-s": str(TIMEOUT_S)}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/v1/chat/completions", json=body, headers=headers) as answer,
    ):
        return "completed" if answer.status == 200 else f"HTTP {answer.status}"


async def of_job(system: System, text: str) -> str:
    async with await system.client(account="shop") as client:
        try:
            await client.chat(f"{text} [[tokens=5]]", role="chat", lane="batch", timeout_s=TIMEOUT_S)
        except PenstockError as error:
            return f"job {error.code}"
    return "completed"


async def of_document(system: System, name: str) -> str:
    document = Document(id=name, text=f"The report {name} says what no other says.", media_type="text/plain")
    async with await system.client(account="shop") as client:
        try:
            await client.index_and_wait("reports", documents=[document], timeout_s=TIMEOUT_S)
        except PenstockError as error:
            return f"document {error.code}"
    return "completed"


def _rest(ends: Counter[str]) -> str:
    return str({end: count for end, count in ends.items() if end != "completed"} or "")
