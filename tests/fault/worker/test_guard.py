"""G2, G4: guards and workers that are killed, frozen or absent: nothing is shown that the guard has not allowed."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from penstock.client.client import Client
from penstock.contract.guard.checks import GuardCheck, GuardVerdict
from penstock.contract.reply import Completed, Delta, Failed, ReplyEvent
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.fake_guard import FakeGuard, finding, verdict
from tests.harness.processes.process import Process
from tests.harness.processes.system import System, running_system, shared_system
from tests.harness.requests.replies import ask
from tests.harness.suite.waiting import until

PROMPT = "Tell me of the river. [[tokens=60]]"
CLOSED = {"input": {"prompt_injection": "block", "secrets": "allow", "personal_data": "allow"}}
OPEN = {"input": {"hate": "block", "prompt_injection": "allow", "secrets": "allow", "personal_data": "allow"}}
GUARD = {
    **CLOSED,
    "output": {"secrets": "allow"},
    "wait_s": 1.2,
    "detectors": {"openai_moderation": {"enabled": True}},
    "accounts": {"open": OPEN},
}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with shared_system(tmp_path_factory.mktemp("guards"), "chat", config=catalogue(guard=GUARD)) as running:
        yield running


@asynccontextmanager
async def allowing_guard(system: System) -> AsyncIterator[Process]:
    process = Process(
        "tests.harness.processes.allowing_guard",
        env={"NATS_URL": system.nats.url},
        log=system.directory / "allowing_guard.log",
        fresh=True,
    )
    await process.start()
    try:
        yield process
    finally:
        process.kill()


@pytest.mark.parametrize("blocked", [True, False])
async def test_g2_a_request_whose_worker_was_killed_is_held_back_by_the_next_one(
    tmp_path: Path, *, blocked: bool
) -> None:
    config = catalogue(guard={**GUARD, "wait_s": 30})
    async with (
        running_system(tmp_path, "chat", config=config) as system,
        await system.client() as client,
        FakeGuard.running(system.nats.url) as guard,
    ):
        plain = await ask(client, PROMPT, role="chat")
        guard.decide = lambda _: None
        events: list[ReplyEvent] = []
        asked = asyncio.create_task(_read(client, events))
        await until(lambda: len(guard.checks) == 2)
        await until(lambda: _answered(system, 2))
        system.workers[0].kill()
        system.workers[0] = system.new_worker("chat")

        def decide(check: GuardCheck) -> GuardVerdict:
            return verdict(check, *((finding(0, 0, 0, "block", "prompt_injection"),) if blocked else ()))

        guard.decide = decide
        await system.workers[0].start()
        await asked
        shown = [event for event in events if isinstance(event, Delta)]
        if blocked:
            assert isinstance(events[-1], Failed)
            assert (events[-1].error.code, shown) == ("blocked", [])
        else:
            assert isinstance(events[-1], Completed)
            assert {event.attempt for event in shown} == {2}
            assert "".join(event.text for event in shown) == plain.text


async def test_g4_a_frozen_guard_stops_closed_policies_only_and_goes_on(system: System) -> None:
    async with allowing_guard(system) as guard, await system.client() as closed:
        assert (await ask(closed, PROMPT, role="chat")).completed
        guard.signal(signal.SIGSTOP)
        async with await system.client(account="open") as open_:
            refused, passed = await asyncio.gather(
                ask(closed, PROMPT, role="chat"), ask(open_, PROMPT, role="chat")
            )
        assert refused.code == "guard_unavailable"
        assert not [event for event in refused.events if isinstance(event, Delta)]
        assert passed.completed
        guard.signal(signal.SIGCONT)
        assert (await ask(closed, PROMPT, role="chat")).completed


async def test_g4_another_guard_answers_for_one_that_is_frozen_or_killed(system: System) -> None:
    async with allowing_guard(system), await system.client() as client:
        assert (await ask(client, PROMPT, role="chat")).completed
        async with allowing_guard(system) as frozen:
            frozen.signal(signal.SIGSTOP)
            began_s = time.monotonic()
            for _ in range(6):  # a closed policy: each was checked
                assert (await ask(client, PROMPT, role="chat")).completed
            # Only the first check that the frozen one gets waits for it: 0.75 s.
            assert time.monotonic() - began_s < 4
        for _ in range(3):
            assert (await ask(client, PROMPT, role="chat")).completed


async def _read(client: Client, events: list[ReplyEvent]) -> None:
    stream = client.stream(PROMPT, role="chat", timeout_s=40)
    events.extend([event async for event in stream])


async def _answered(system: System, times: int) -> bool:
    counts = (await system.sim("GET", "counts"))["models"].get("m-chat", {})
    return counts.get("ok", 0) == times


async def test_g4_a_check_outlives_a_restart_of_nats_server(tmp_path: Path) -> None:
    config = catalogue(guard={**GUARD, "wait_s": 20})
    async with (
        running_system(tmp_path, "chat", config=config) as system,
        await system.client() as client,
        FakeGuard.running(system.nats.url) as guard,
    ):
        guard.decide = lambda _: None
        events: list[ReplyEvent] = []
        asked = asyncio.create_task(_read(client, events))
        await until(lambda: _answered(system, 1))
        system.nats.kill()
        guard.decide = verdict
        await system.nats.start()
        await asked
        assert isinstance(events[-1], Completed), events[-1]
        assert [event for event in events if isinstance(event, Delta)]
