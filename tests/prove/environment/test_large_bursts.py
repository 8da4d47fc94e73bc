"""50 bodies of 7.9 MB at once are answered, also those of one account, and their memory is given back."""

from __future__ import annotations

import asyncio
import io
import time
from collections import Counter
from pathlib import Path

import aiohttp
import msgspec
import psutil
import pytest

from penstock.client.client import Client
from tests.harness.processes.edge_keys import new_key
from tests.harness.processes.process import Process
from tests.harness.processes.system import System, running_system
from tests.harness.requests.pictures import conversation
from tests.harness.requests.replies import ask
from tests.harness.suite.proofs import report_figures

REQUESTS, ACCOUNTS, USERS = 50, 4, 10
MEGABYTES = 7.9
GROWTH, WITHIN_S = 1.3, 30.0
SCALE = {"PENSTOCK_STORE_SCALE": "2", "PENSTOCK_ACK_WAIT_S": "20"}
"""The mailboxes hold 1 GiB, of which large requests may fill half: 50 bodies fit."""


def memory_mib(processes: dict[str, Process]) -> dict[str, int]:
    return {name: psutil.Process(each.pid).memory_info().rss // 2**20 for name, each in processes.items()}


async def check_memory(what: str, processes: dict[str, Process], before: dict[str, int]) -> None:
    began_s = time.monotonic()
    while time.monotonic() - began_s < WITHIN_S:
        now = memory_mib(processes)
        if all(now[name] < GROWTH * before[name] for name in before):
            break
        await asyncio.sleep(0.5)
    took_s = time.monotonic() - began_s
    report_figures(f"{what}: memory {before} MiB before, {now} MiB {took_s:.1f} s after the last answer")
    assert all(now[name] < GROWTH * before[name] for name in before)


async def over_nats(system: System) -> Counter[str]:
    body = conversation(MEGABYTES)
    clients = [await system.client(account=f"a{number}", name=f"c{number}") for number in range(ACCOUNTS)]
    try:
        received = await asyncio.gather(
            *(
                ask(
                    clients[number % ACCOUNTS],
                    body,
                    role="vision",
                    user=f"u{number % USERS}",
                    timeout_s=200,
                )
                for number in range(REQUESTS)
            )
        )
    finally:
        for client in clients:
            await client.close()
    return Counter(each.code or "completed" for each in received)


async def over_http(url: str, keys: list[str]) -> Counter[int]:
    messages = conversation(MEGABYTES)

    async def post(session: aiohttp.ClientSession, number: int) -> int:
        body = {"model": "vision", "messages": messages, "user": f"u{number % USERS}"}
        written = {"Authorization": f"Bearer {keys[number % ACCOUNTS]}", "Content-Type": "application/json"}
        data = io.BytesIO(msgspec.json.encode(body))
        async with session.post(url, data=data, headers=written) as answer:
            await answer.read()
            return answer.status

    limit = aiohttp.ClientTimeout(total=220)
    async with aiohttp.ClientSession(timeout=limit) as session:
        return Counter(await asyncio.gather(*(post(session, number) for number in range(REQUESTS))))


async def until_answered(client: Client, user: str, refusals: Counter[str]) -> None:
    """Send a large body again, as often as it is refused, when the refusal says so."""
    body = conversation(MEGABYTES)
    while True:
        received = await ask(client, body, role="vision", user=user, timeout_s=200)
        if received.code is None:
            return
        failure = received.failed.error
        assert received.code == "overloaded", failure
        assert "PENSTOCK_STORE_SCALE" in failure.message
        assert failure.retry_after_s is not None
        refusals[failure.message.partition(";")[0]] += 1
        await asyncio.sleep(failure.retry_after_s)


@pytest.mark.prove
@pytest.mark.timeout(290)
async def test_a_burst_of_one_account_is_answered_when_it_is_sent_again(tmp_path: Path) -> None:
    """Its share of the mailboxes takes 16 of them at once; what exceeds it is refused with a time to come back."""
    async with running_system(tmp_path, "vision", env={"PENSTOCK_ACK_WAIT_S": "20"}, fresh=True) as system:
        async with await system.client() as client:
            await ask(client, "warm", role="vision")
            processes = {"router": system.router, "worker": system.workers[0]}
            before, began_s, refusals = memory_mib(processes), time.monotonic(), Counter[str]()
            await asyncio.gather(
                *(until_answered(client, f"u{number % USERS}", refusals) for number in range(REQUESTS))
            )
        took_s = time.monotonic() - began_s
        report_figures(
            f"one account, sent again: {REQUESTS} answered in {took_s:.1f} s, refused {dict(refusals)}"
        )
        await check_memory("one account", processes, before)


@pytest.mark.prove
@pytest.mark.timeout(290)
async def test_a_burst_of_large_bodies_over_nats(tmp_path: Path) -> None:
    async with running_system(tmp_path, "vision", env=SCALE, fresh=True) as system:
        async with await system.client() as client:
            await ask(client, "warm", role="vision")
        processes = {"router": system.router, "worker": system.workers[0]}
        before, began_s = memory_mib(processes), time.monotonic()
        outcomes = await over_nats(system)
        report_figures(f"over NATS: {dict(outcomes)} in {time.monotonic() - began_s:.1f} s")
        assert outcomes == {"completed": REQUESTS}
        await check_memory("over NATS", processes, before)


@pytest.mark.prove
@pytest.mark.timeout(290)
async def test_a_burst_of_large_bodies_over_http(tmp_path: Path) -> None:
    async with running_system(tmp_path, "vision", env=SCALE, fresh=True) as system:
        keys = [await new_key(system, "--account", f"a{number}") for number in range(ACCOUNTS)]
        edge = system.new_edge()
        await edge.start()
        url = f"{edge.ready['url']}/v1/chat/completions"
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {keys[0]}"}) as session:
            body = {"model": "vision", "messages": [{"role": "user", "content": "warm"}]}
            async with session.post(url, json=body) as answer:
                assert answer.status == 200
        processes = {"router": system.router, "worker": system.workers[0], "edge": edge}
        before, began_s = memory_mib(processes), time.monotonic()
        outcomes = await over_http(url, keys)
        report_figures(f"over HTTP: {dict(outcomes)} in {time.monotonic() - began_s:.1f} s")
        assert outcomes == {200: REQUESTS}
        await check_memory("over HTTP", processes, before)
