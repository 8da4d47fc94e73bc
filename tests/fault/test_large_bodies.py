"""Bodies that exceed a message survive the death of a worker, and become part of a redriven dead letter (issue 9)."""

from __future__ import annotations

import asyncio
from pathlib import Path

from penstock.client.client import Client
from penstock.contract.reply import Restarted
from penstock.contract.streams import BODIES
from tests.harness.processes.cli_command import run_command
from tests.harness.processes.system import System, running_system
from tests.harness.requests.jobs import job_in_state
from tests.harness.requests.pictures import conversation
from tests.harness.requests.replies import ReceivedReply, ask
from tests.harness.suite.waiting import until

MEGABYTES = 9


async def stored_parts(client: Client) -> int:
    return int((await client._nc.jetstream().stream_info(BODIES.name)).state.messages)


async def all_deleted(client: Client) -> None:
    async def none_stored() -> bool:
        return await stored_parts(client) == 0

    await until(none_stored)


async def answer_over_a_killed_worker(system: System, client: Client) -> ReceivedReply:
    """The reply to a large request whose worker is killed during the call, and replaced."""
    await system.hold_answers(2)
    before = await system.attempts()
    asking = asyncio.create_task(ask(client, conversation(MEGABYTES), role="vision", stream=True))

    async def called() -> bool:
        return await system.attempts() > before

    await until(called)
    system.workers[-1].kill()
    assert await stored_parts(client) > 0
    await system.release_answers()
    system.workers.append(system.new_worker("vision"))
    await system.workers[-1].start()
    return await asking


async def test_d7_after_the_death_of_a_worker_another_one_reads_the_body_again(tmp_path: Path) -> None:
    async with running_system(tmp_path, "vision") as system, await system.client() as client:
        reply = await answer_over_a_killed_worker(system, client)
        assert reply.completed.model == "m-vision"
        assert any(isinstance(event, Restarted) for event in reply.events)
        assert (await system.sim("GET", "last_request?model=m-vision"))["messages"] == conversation(MEGABYTES)
        await all_deleted(client)


async def test_d7_a_dead_letter_keeps_its_body_for_a_redrive(tmp_path: Path) -> None:
    env = {"PENSTOCK_MAX_DELIVER": "1"}
    async with running_system(tmp_path, "vision", env=env) as system, await system.client() as client:
        assert (await answer_over_a_killed_worker(system, client)).code == "undeliverable"
        assert await stored_parts(client) > 0
        redriven = (await run_command(system, "dead", "redrive", "--all", "--role", "vision", "--json")).json
        await job_in_state(client, redriven["request"], "completed")
        assert (await system.sim("GET", "last_request?model=m-vision"))["messages"] == conversation(MEGABYTES)
        await all_deleted(client)

        assert (await answer_over_a_killed_worker(system, client)).code == "undeliverable"
        await client._nc.jetstream().purge_stream(BODIES.name)
        result = await run_command(system, "dead", "redrive", "--all", "--role", "vision")
        assert result.code == 1
        assert "not redriven: its body, which is stored for 25 hours, is gone: 0 of its" in result.out
