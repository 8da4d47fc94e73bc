"""C6: batch requests leave a fifth of the quota to interactive ones, and are not starved by that."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from nats.js import JetStreamContext

from penstock.bus.connection import connect
from penstock.client.client import Client
from penstock.contract.streams import mailbox
from penstock.runtime.heartbeat import HEARTBEAT_S
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import running_system
from tests.harness.requests.replies import ReceivedReply, ask

BATCH = mailbox("chat", "batch")


async def test_c6_batch_waits_and_interactive_finds_the_reserve(tmp_path: Path):
    """A limit of ten a minute: batch requests get eight, interactive ones two at once."""
    few = {"m-few": {"limits": {"requests_per_minute": 10}}}
    config = catalogue({"chat": ["m-few"]}, models=few) + "\nbatch: {starvation_timeout_s: 60}\n"
    async with (
        running_system(tmp_path, "chat", "chat", config=config) as system,
        await system.client() as client,
    ):
        nc = await connect(system.nats.url, name="test")
        batch = [_ask_batch(client, number) for number in range(14)]
        await _until_attempts(system, 8)
        assert await _settled_attempts(system) == 8
        assert sum(await _waiting(nc.jetstream())) == 6
        for number in range(2):
            received = await _ask_until_admitted(client, f"Interactive {number}")
            assert received.code is None
            assert received.took_s < 3, "before the minute is over"
        for task in batch:
            task.cancel()
        await asyncio.gather(*batch, return_exceptions=True)
        await nc.close()


async def _ask_until_admitted(client: Client, prompt: str) -> ReceivedReply:
    """Ask again after `retry_after_s` if admission control, which does not know a burst yet, rejects the request.

    It says 2.5 s, half a second after the next heartbeat is due: on a busy machine that is late, and it rejects once
    more.
    """
    for _ in range(2):
        received = await ask(client, prompt, role="chat", timeout_s=5)
        if received.code != "overloaded":
            return received
        delay_s = received.failed.error.retry_after_s
        assert delay_s is not None
        assert delay_s <= HEARTBEAT_S + 0.5
        await asyncio.sleep(delay_s)
    return await ask(client, prompt, role="chat", timeout_s=5)


async def test_c6_one_batch_request_is_sent_after_its_longest_wait(tmp_path: Path):
    few = {"m-few": {"limits": {"requests_per_minute": 10}}}
    config = (
        catalogue({"chat": ["m-few"]}, models=few)
        + "\nbatch: {reserve_share: 0.5, starvation_timeout_s: 4}\n"
    )
    async with (
        running_system(tmp_path, "chat", config=config) as system,
        await system.client() as client,
    ):
        batch = [_ask_batch(client, number) for number in range(9)]
        await _until_attempts(system, 5)
        assert await _settled_attempts(system) in {5, 6}, "half, and possibly the first one that is due"
        before = await system.attempts("m-few")
        began_s = time.monotonic()
        await _until_attempts(system, before + 1)
        assert time.monotonic() - began_s < 12, "before the minute is over"
        for task in batch:
            task.cancel()
        await asyncio.gather(*batch, return_exceptions=True)


def _ask_batch(client: Client, number: int) -> asyncio.Task[ReceivedReply]:
    return asyncio.create_task(ask(client, f"{number}", role="chat", lane="batch", timeout_s=300))


async def _until_attempts(system, number: int) -> None:
    async with asyncio.timeout(30):
        while await system.attempts("m-few") < number:
            await asyncio.sleep(0.05)


async def _settled_attempts(system) -> int:
    """The number of attempts once it is stable for as long as a lease and a check of the gate may take."""
    seen, since_s = -1, time.monotonic()
    while time.monotonic() - since_s < 1.5:
        now = await system.attempts("m-few")
        if now != seen:
            seen, since_s = now, time.monotonic()
        await asyncio.sleep(0.1)
    return seen


async def _waiting(js: JetStreamContext) -> tuple[int, int]:
    """Requests in the mailbox and in flight in workers."""
    infos = [await js.consumer_info(each.stream, each.durable) for each in BATCH]
    return sum(info.num_pending or 0 for info in infos), sum(info.num_ack_pending or 0 for info in infos)
