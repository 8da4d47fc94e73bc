"""C7: two workers share limits; a warning is stored once, status shows usage, headroom, forecast and advice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import msgspec
import pytest

from penstock.cli.system_status import LimitView
from penstock.client.client import Client
from penstock.contract.events import QuotaEased, QuotaWarned
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.cli_command import run_command
from tests.harness.processes.process import Process
from tests.harness.processes.system import System, shared_system
from tests.harness.records.stored_events import stored_events
from tests.harness.requests.replies import ask
from tests.harness.suite.waiting import until

CONFIG = catalogue(
    {
        "chat": ["counted", "spare"],
        "coding": ["counted", "spare"],
        "fast": ["narrow"],
        "creative": ["narrow"],
    },
    models={
        "counted": {"limits": {"requests_per_minute": 10, "tokens_per_day": 1_000_000}},
        "narrow": {"limits": {"concurrency": 2}},
    },
    role={"parameters": {"max_tokens": 100}},
    quota_warning={"clear_s": 1},
)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    workers = ("chat,fast", "coding,creative")
    env = {"PENSTOCK_QUOTA": "shared"}
    with shared_system(tmp_path_factory.mktemp("quota"), *workers, config=CONFIG, env=env) as running:
        yield running


@pytest.fixture
async def client(system: System) -> Any:
    async with await system.client() as connected:
        yield connected


async def limits(system: System) -> dict[tuple[str, str], LimitView]:
    """The limits of the status by model and name, one row each."""
    rows = (await run_command(system, "status", "--json")).json["limits"]
    found = {(row["model"], row["limit"]): msgspec.convert(row, LimitView) for row in rows}
    assert len(found) == len(rows), "a limit that the workers share is one row"
    return found


async def test_c7_a_full_limit_is_warned_of_once_and_status_gives_advice(
    system: System, client: Client
) -> None:
    """Both workers have a second model for their roles, so that each request is pulled at once."""
    roles = cycle(("chat", "coding"))
    while await system.attempts("counted") < 10:
        assert (await ask(client, "hello", role=next(roles))).code is None
    while await _delayed_requests(system) < 8:
        assert (await ask(client, "hello", role=next(roles))).completed.model == "spare"

    async def seen() -> bool:
        limit = (await limits(system)).get(("counted", "requests_per_minute"))
        return limit is not None and limit.warned and limit.hour.throttled == 8 and limit.hour.full_s >= 1

    await until(seen, 30, every_s=0.3)
    assert await system.attempts("counted") == 10
    for worker in system.workers:
        assert await _exported(system, worker, "penstock_limit_full_seconds_total") > 0
        assert await _exported(system, worker, "penstock_limit_headroom") == 0
        assert await _exported(system, worker, "penstock_limit_throttled_requests_total") > 0

    found = await limits(system)
    minute = found["counted", "requests_per_minute"]
    assert (minute.worker, minute.used + minute.leased, minute.allowed, minute.headroom) == ("", 10, 10, 0)
    assert minute.full_in_s == 0
    assert minute.hour.throttled == 8
    assert minute.hour.full_s >= 1
    assert "of counted was full for" in minute.advice
    assert "8 requests were held back or went elsewhere: about twice the limit" in minute.advice
    day = found["counted", "tokens_per_day"]
    assert day.headroom == day.allowed - day.used - day.leased > 0
    assert not day.warned

    text = (await run_command(system, "status")).out
    assert f"Advice: {minute.advice.partition(';')[0][:30]}" in text
    (row,) = (line for line in text.splitlines() if line.startswith("counted") and "requests/min" in line)
    assert "full" in row

    warned = await stored_events(system, QuotaWarned)
    stored = [event for event in warned if event.model == "counted"]
    assert [(event.limit, event.allowed) for event in stored] == [("requests_per_minute", 10)]
    assert stored[0].used >= 9


async def _delayed_requests(system: System) -> float:
    """Requests that both workers together delayed for the limit per minute."""
    name = "penstock_limit_throttled_requests_total"
    return sum([await _exported(system, worker, name) for worker in system.workers])


async def _exported(system: System, worker: Process, name: str) -> float:
    """The value of a worker's metric for the limit; 0 before it is exported."""
    found = [
        float(line.rpartition(" ")[2])
        for line in (await system.metrics(worker)).splitlines()
        if line.startswith(f"{name}{{")
        and 'model="counted"' in line
        and 'limit="requests_per_minute"' in line
    ]
    assert len(found) <= 1
    return sum(found)


async def test_c7_the_end_of_a_warning_is_stored_once(system: System, client: Client) -> None:
    await system.sim("PUT", "behaviour", {"narrow": "slow=2.5"})
    await asyncio.gather(*(ask(client, "hello", role=role, timeout_s=9) for role in ("fast", "creative")))

    async def eased() -> bool:
        return any(event.model == "narrow" for event in await stored_events(system, QuotaEased))

    await until(eased, 30, every_s=0.2)
    both = [
        event
        for kind in (QuotaWarned, QuotaEased)
        for event in await stored_events(system, kind)
        if event.model == "narrow"
    ]
    assert [(type(event), event.limit) for event in both] == [
        (QuotaWarned, "concurrency"),
        (QuotaEased, "concurrency"),
    ]
