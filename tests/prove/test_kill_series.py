"""D7: a random process is killed again and again under load; every accepted request ends exactly once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest

from penstock.history import stored_replies
from schemas import subjects
from schemas.reply import TERMINAL
from tests.harness.events import usage_count
from tests.harness.process import Process
from tests.harness.system import System, running

REQUESTS = 1500
AT_ONCE = 24
KILL_EVERY_S = 2.0


@pytest.mark.prove
@pytest.mark.timeout(280)
async def test_every_accepted_request_ends_exactly_once_whatever_is_killed_d7(tmp_path: Path):
    dice = random.Random(7)
    async with running(tmp_path, "chat,coding", "all") as system, await system.client() as client:
        await system.sim("PUT", "speed", {"tokens_per_second": 120, "first_token_ms": 20, "latency_ms": 0})
        outcomes: Counter[str] = Counter()
        ids: set[str] = set()
        left = REQUESTS

        async def one_after_another() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                role = dice.choice(("chat", "coding", "fast", "logic"))
                stream = client.stream("Where does it go?", role=role, timeout_s=60)
                ids.add(stream.id)
                outcomes[await _end(stream)] += 1

        killer = asyncio.create_task(_kill(system, dice))
        await asyncio.gather(*(one_after_another() for _ in range(AT_ONCE)))
        killer.cancel()
        kills = (await asyncio.gather(killer, return_exceptions=True))[0]
        assert isinstance(kills, asyncio.CancelledError), kills

        ends = Counter()
        for request_id in ids:
            events = await stored_replies(client._nc, subjects.reply("demo", client.name, request_id))
            ends[sum(isinstance(event, TERMINAL) for event in events)] += 1
        usage = await usage_count(system, ids)
        attempts = await system.attempts()
        print(f"\n{REQUESTS} requests: {dict(outcomes)}; terminal events per request: {dict(ends)}; ")
        print(f"provider attempts {attempts}, usage events {usage}; killed: {dict(system_kills)}")
        assert ends == {1: REQUESTS}
        assert outcomes["completed"] >= REQUESTS * 0.99, outcomes
        assert usage >= attempts


system_kills: Counter[str] = Counter()


async def _end(stream) -> str:
    async for event in stream:
        if isinstance(event, TERMINAL):
            return "completed" if not hasattr(event, "error") else event.error.code
    raise AssertionError(f"the events of {stream.id} ended without an end")


async def _kill(system: System, dice: random.Random) -> None:
    turn = 0
    while True:
        await asyncio.sleep(KILL_EVERY_S)
        turn += 1
        if turn % 8 == 0:
            system_kills["nats-server"] += 1
            system.nats.kill()
            await system.nats.start()
            continue
        victim = dice.choice(("router", "worker"))
        system_kills[victim] += 1
        if victim == "router":
            system.router = await _replace(system.router, system.new_router())
        else:
            place = dice.randrange(2)
            role = ("chat,coding", "all")[place]
            system.workers[place] = await _replace(system.workers[place], system.new_worker(role))


async def _replace(old: Process, new: Process) -> Process:
    old.kill()
    await new.start()
    return new
