"""E4, D8: `penstock jobs` and `penstock ask --detach` as commands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from penstock.client.client import Client
from penstock.errors import UnknownJob
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.cli_command import run_command
from tests.harness.processes.system import System, shared_system
from tests.harness.suite.waiting import until


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with shared_system(tmp_path_factory.mktemp("jobs-command"), config=catalogue()) as running:
        yield running


@pytest.fixture(autouse=True)
async def reset_speed(system: System) -> AsyncIterator[None]:
    yield
    await system.sim("PUT", "speed", {"latency_ms": 0})


async def reaches(client: Client, job_id: str, state: str) -> None:
    async def in_state() -> bool:
        try:
            return (await client.job(job_id)).state == state
        except UnknownJob:  # no router has recorded it yet
            return False

    await until(in_state)


async def test_e4_a_job_is_submitted_and_its_answer_read_by_its_id(system: System, client: Client) -> None:
    submitted = await run_command(
        system, "ask", "Why?", "--lane", "batch", "--detach", "--role", "chat", "--user", "u-3"
    )
    job_id = submitted.out.strip()
    assert (submitted.code, f"jobs {job_id} --result" in submitted.notes) == (0, True)
    await reaches(client, job_id, "completed")

    result = await run_command(system, "jobs", job_id, "--result")
    reply = await client.result(job_id)
    assert reply is not None
    assert result.out == reply.text + "\n"
    shown = await run_command(system, "jobs", job_id)
    assert shown.code == 0
    assert all(part in shown.out for part in ("completed", "u-3", "m-chat", "deadline"))
    listed = (await run_command(system, "jobs", "--user", "u-3", "--state", "completed", "--json")).json
    assert [job["id"] for job in listed] == [job_id]
    assert job_id in (await run_command(system, "jobs")).out
    assert (await run_command(system, "jobs", "--state", "failed", "--user", "u-3")).out == "No jobs.\n"


async def test_e4_a_failed_or_unknown_job_is_reported_with_its_reason(system: System, client: Client) -> None:
    job_id = await client.submit([{"role": "wizard"}], role="chat", user="\x1b[31m\x9b2Ju")
    await reaches(client, job_id, "failed")
    shown = await run_command(system, "jobs", job_id)
    assert (shown.code, "invalid_request" in shown.out) == (1, True)
    result = await run_command(system, "jobs", job_id, "--result")
    assert (result.code, "invalid_request" in result.notes) == (1, True)
    for ran in (
        shown,
        result,
        await run_command(system, "jobs"),
        await run_command(system, "jobs", "--json"),
    ):
        assert not set(ran.out + ran.notes) & {"\x1b", "\x9b"}
    unknown = await run_command(system, "jobs", "no-such-job")
    assert (unknown.code, "there is no status of job no-such-job" in unknown.notes) == (1, True)


async def test_d8_a_job_is_cancelled_by_the_command(system: System, client: Client) -> None:
    await system.sim("PUT", "speed", {"latency_ms": 30_000})  # until the fixture resets it
    job_id = await client.submit("Slowly", role="logic")
    await reaches(client, job_id, "running")
    early = await run_command(system, "jobs", job_id, "--result")
    assert (early.code, "is running: it has no answer yet" in early.notes) == (1, True)
    cancelled = await run_command(system, "jobs", job_id, "--cancel")
    assert (cancelled.code, cancelled.out) == (0, f"job {job_id} is cancelled\n")
    again = await run_command(system, "jobs", job_id, "--cancel")
    assert (again.code, again.out) == (1, f"job {job_id} is already failed\n")
