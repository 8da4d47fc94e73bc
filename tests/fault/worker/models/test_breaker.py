"""D3 over the real system: the number of calls that reach a model while its breaker is open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from penstock.client.client import Client
from penstock.contract.events import BreakerChanged
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.records.stored_events import stored_events
from tests.harness.requests.replies import ask
from tests.harness.suite.waiting import until

OPEN_S = 2.0
PROBED_S = 15.0
"""Upper bound in seconds, on a loaded machine, from the end of an opening to the answer; a deadline is 90 s away."""
CHAINS = {
    "chat": ("sick", "stand-in"),
    "fast": ("sick", "stand-in"),
    "logic": ("lonely",),
    "coding": ("limited",),
}
BREAKER = {"failure_threshold": 5, "open_s": OPEN_S, "probe_interval_s": 0.2, "success_threshold": 2}
ROLE = {"retry": {"initial_backoff_s": 0.02, "max_backoff_s": 0.1, "same_model_retries": 0}}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = catalogue(CHAINS, role=ROLE, breaker=BREAKER)
    with shared_system(tmp_path_factory.mktemp("breaker"), config=config) as running:
        yield running


async def test_d3_five_failures_open_the_breaker_and_two_good_probes_close_it(
    system: System, client: Client
) -> None:
    await system.sim("PUT", "behaviour", {"sick": "503"})
    opened_s = time.monotonic()  # or a little later

    for n in range(5):
        assert (await ask(client, f"Failing {n}", role="chat")).models == ["sick", "stand-in"]
    assert await system.attempts("sick") == 5

    # While it is open, for every role with this model, only one probe per open_s reaches the model.
    for n in range(20):
        role = ("chat", "fast")[n % 2]
        assert (await ask(client, f"Around it {n}", role=role)).models[-1] == "stand-in"
    assert await system.attempts("sick") <= 5 + (time.monotonic() - opened_s) // OPEN_S

    # The probe after open_s fails and opens the breaker again.
    async def probed() -> bool:
        await ask(client, "Probe?", role="chat")
        return await system.attempts("sick") > 5

    await until(probed)
    for n in range(5):
        await ask(client, f"Around it again {n}", role="fast")
    assert await system.attempts("sick") <= 5 + (time.monotonic() - opened_s) // OPEN_S

    # Two good probes close the breaker, and the model answers all requests again.
    await system.sim("PUT", "behaviour", {"sick": ""})

    async def answers_again() -> bool:
        return (await ask(client, "Recovered?", role="chat")).models == ["sick"]

    await until(answers_again)
    await until(answers_again)
    for n in range(5):
        assert (await ask(client, f"Healthy {n}", role="fast")).models == ["sick"]

    async def reported() -> bool:
        events = await stored_events(system, BreakerChanged)
        states = [event.after for event in events if event.model == "sick"]
        failed_probes = max(1, len(states) // 2 - 1)
        return states == ["open", *["half_open", "open"] * failed_probes, "half_open", "closed"]

    await until(reported)


async def test_d3_c3_a_request_waits_for_the_probe_of_its_only_model(system: System, client: Client) -> None:
    await system.sim("PUT", "behaviour", {"lonely": "500"})
    for number in range(4):  # the breaker counts one failure of each, however many attempts it makes
        first = await ask(client, f"Request {number} fails", role="logic")
        assert first.code == "provider_unavailable"
    before = await system.attempts("lonely")

    second = await ask(client, "The fifth opens it", role="logic", timeout_s=1.0)

    assert second.code == "deadline_exceeded"
    assert "the circuit breaker of lonely" in second.failed.error.message
    assert 0 < (second.failed.error.retry_after_s or 0) <= OPEN_S
    assert await system.attempts("lonely") == before + 1

    await system.sim("PUT", "behaviour", {"lonely": ""})
    third = await ask(client, "Waits for the probe", role="logic")
    assert third.completed.model == "lonely"
    assert third.took_s < OPEN_S + PROBED_S, "it does not wait for another opening of the breaker"
    assert third.restarts == []


async def test_d3_a_429_is_quota_and_never_opens_it(system: System, client: Client) -> None:
    """The model answers more 429s than the failures that open a breaker; each 429 pauses it for longer."""
    await system.sim("PUT", "behaviour", {"limited": "429=0.1"})
    short = await ask(client, "Limited, and in a hurry", role="coding", timeout_s=1)
    assert short.code == "deadline_exceeded"
    assert "quota" in short.failed.error.message

    long = asyncio.create_task(ask(client, "Limited", role="coding", timeout_s=60))

    async def enough_to_open_a_breaker() -> bool:
        return await system.attempts("limited") > BREAKER["failure_threshold"]

    await until(enough_to_open_a_breaker, 30)
    assert not long.done()
    await system.sim("PUT", "behaviour", {"limited": ""})

    received = await long
    assert received.completed.model == "limited"
    assert not [event for event in await stored_events(system, BreakerChanged) if event.model == "limited"]
