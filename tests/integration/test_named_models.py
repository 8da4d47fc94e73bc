"""K2: a request that names a model of the catalogue is answered by that model, by its own fallbacks, or by an error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from penstock import RequestFailed
from penstock.client.client import Client
from penstock.contract.names import RANKS
from penstock.contract.streams import WORK, mailbox
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, running_system, shared_system
from tests.harness.requests.jobs import job_in_state
from tests.harness.suite.waiting import until

CHAINS = {
    "coding": ("first", "second"),
    "logic": ("down--500", "second"),
    "reasoning": ("saved--500", "second"),
    "creative": ("scarce-1.5", "second"),
}
MODELS = {
    "saved--500": {"fallbacks": ["second"]},
    "scarce-1.5": {"limits": {"requests_per_minute": 1}},
}
ROLE = {"retry": {"initial_backoff_s": 0.02, "max_backoff_s": 0.05, "same_model_retries": 0}}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = catalogue(CHAINS, models=MODELS, role=ROLE, breaker={"failure_threshold": 10_000})
    with shared_system(tmp_path_factory.mktemp("models"), config=config) as running:
        yield running


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    async with await system.client() as connected:
        yield connected


async def test_k2_a_named_model_answers_though_the_role_prefers_another(client: Client) -> None:
    reply = await client.chat("Hello?", model="second")
    assert (reply.model, reply.role) == ("second", "model-second")
    by_role = await client.chat("Hello?", role="coding")
    assert (by_role.model, by_role.role) == ("first", "coding")


async def test_k2_a_failing_model_without_fallbacks_ends_in_an_error(system: System, client: Client) -> None:
    before = await system.attempts("second")
    with pytest.raises(RequestFailed) as caught:
        await client.chat("Hello?", model="down--500")
    assert caught.value.code == "provider_unavailable"
    assert await system.attempts("second") == before
    assert (await client.chat("Hello?", role="logic")).model == "second"


async def test_k2_a_failing_model_with_fallbacks_is_followed_by_them(client: Client) -> None:
    reply = await client.chat("Hello?", model="saved--500")
    assert (reply.model, reply.attempts) == ("second", 2)


async def test_k2_exhausted_quota_of_a_model_stops_only_requests_that_name_it(client: Client) -> None:
    assert (await client.chat("Hello?", model="scarce-1.5")).model == "scarce-1.5"
    waiting = [asyncio.create_task(client.chat("Hello?", model="scarce-1.5", timeout_s=4)) for _ in range(20)]
    await asyncio.sleep(0.5)
    async with asyncio.timeout(3):
        assert (await client.chat("Hello?", model="second")).model == "second"
        assert (await client.chat("Hello?", role="creative")).model == "second"
        assert (await client.chat("Hello?", role="coding")).model == "first"
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    codes = {end.code for end in ends if isinstance(end, RequestFailed)}
    assert len(ends) == 20
    assert codes <= {"overloaded", "deadline_exceeded"}
    assert not any(isinstance(end, BaseException) and not isinstance(end, RequestFailed) for end in ends)


async def test_k2_a_job_can_name_a_model(client: Client) -> None:
    job_id = await client.submit("Hello?", model="second")
    job = await job_in_state(client, job_id, "completed")
    assert job.role == "model-second"
    reply = await client.result(job_id)
    assert reply is not None
    assert reply.model == "second"


async def test_k2_an_unknown_model_is_an_error_with_models_of_a_similar_name(client: Client) -> None:
    with pytest.raises(RequestFailed, match="a similar name is second") as caught:
        await client.chat("Hello?", model="sekond")
    assert (caught.value.code, caught.value.retry) == ("unknown_role", "never")


async def test_b1_roles_complexities_and_auto_are_as_before(client: Client) -> None:
    assert (await client.chat("Hello?")).role == "chat"
    assert (await client.chat("Use the model second.")).role == "chat"
    assert (await client.chat("Hello?", role="coding", complexity="complex")).model == "first"


async def test_k2_a_worker_pulls_from_the_mailboxes_of_a_model_only_while_it_is_used(
    system: System, client: Client
) -> None:
    """Until then not even their consumers exist; a worker that starts later opens them from the router's heartbeat."""
    js = client._nc.jetstream()

    async def waiting(role: str) -> dict[str, int]:
        """Open pull requests by consumer."""
        found = await js.consumers_info(WORK.name)
        names = {each.durable for each in mailbox(role, "interactive")}
        return {info.name: info.num_waiting or 0 for info in found if info.name in names}

    assert await waiting("model-m-fast") == {}
    await client.chat("Hello?", model="m-fast")

    async def all_are_pulled_from() -> bool:
        return list((await waiting("model-m-fast")).values()) == [1] * len(RANKS)

    await until(all_are_pulled_from)
    late = system.new_worker("fast")
    await late.start()

    async def both_pull() -> bool:
        return list((await waiting("model-m-fast")).values()) == [2] * len(RANKS)

    await until(both_pull)
    await late.terminate()


async def test_k2_a_worker_serves_the_models_of_its_chains_and_those_it_was_started_for(
    tmp_path: Path,
) -> None:
    config = catalogue({"chat": ("one", "two"), "coding": ("three",), "logic": ("four",)})
    async with (
        running_system(tmp_path, "chat,model-four", config=config) as system,
        await system.client() as client,
    ):
        assert (await client.chat("Hello?", model="two")).model == "two"
        assert (await client.chat("Hello?", model="four")).model == "four"
        with pytest.raises(RequestFailed, match="no live worker serves the model three:") as caught:
            await client.chat("Hello?", model="three")
        assert caught.value.code == "role_not_served"
        assert "--role model-three" in str(caught.value)
        late = system.new_worker("model-three")
        await late.start()
        assert (await client.chat("Hello?", model="three")).model == "three"
