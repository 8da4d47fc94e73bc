"""D6, D7: the field `rescue` of a request limits further attempts after a provider failure or the kill of a worker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import pytest
from msgspec import Raw

from penstock.bus.ids import new_id
from penstock.contract import subjects
from penstock.contract.codec import encode
from penstock.contract.headers import CLIENT, MESSAGE_ID
from penstock.contract.names import Rescue
from penstock.contract.reply import Completed, Delta, Failed, ReplyEvent, Restarted, Started
from penstock.contract.request import ChatRequest
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.requests.replies import RawPublisher
from tests.harness.suite.waiting import until

CHAINS = {"chat": ("first", "second")}
ROLE = {"timeouts": {"total_s": 20, "non_streaming_s": 5, "first_token_s": 5, "between_tokens_s": 5}}


@pytest.fixture(scope="module")
def one_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """No breaker opens and no limit is learned, because the catalogue has one: the tests stay independent."""
    config = catalogue(
        CHAINS,
        role=ROLE,
        breaker={"failure_threshold": 1000},
        models={model: {"limits": {"requests_per_minute": 6000}} for model in CHAINS["chat"]},
    )
    with shared_system(tmp_path_factory.mktemp("rescue"), "chat", config=config) as running:
        yield running


@pytest.fixture
async def system(one_system: System) -> AsyncIterator[System]:
    yield one_system
    await one_system.sim("PUT", "behaviour", {"first": ""})
    await one_system.sim("PUT", "speed", {"tokens_per_second": 0})


async def begin(
    publisher: RawPublisher, rescue: Rescue, *, stream: bool = True, prompt: str = "Hello"
) -> str:
    body = {"messages": [{"role": "user", "content": prompt}], "stream": stream}
    request = ChatRequest(
        id=new_id(), client="publisher", body=Raw(json.dumps(body).encode()), role="chat", rescue=rescue
    )
    headers = {MESSAGE_ID: f"demo.publisher.{request.id}", CLIENT: "publisher"}
    await publisher.js.publish(subjects.request("demo", "chat"), encode(request), headers=headers)
    return request.id


def models(events: list[ReplyEvent]) -> list[str]:
    return [event.model for event in events if isinstance(event, Started)]


def no_text_before_restarted(events: list[ReplyEvent]) -> bool:
    """True if no text precedes a `restarted` event; one may follow a worker that died before its first text."""
    restarted = [event.seq for event in events if isinstance(event, Restarted)]
    return not any(isinstance(event, Delta) and event.seq < max(restarted, default=0) for event in events)


@pytest.mark.parametrize("behaviour", ["503", "429=0.2", "bad-request", "cut=5"])
@pytest.mark.parametrize("stream", [True, False])
async def test_d6_rescue_none_ends_with_the_first_failure(
    system: System, publisher: RawPublisher, behaviour: str, *, stream: bool
) -> None:
    await system.sim("PUT", "behaviour", {"first": behaviour})
    before = await system.attempts()
    request_id = await begin(publisher, "none", stream=stream)
    end = await publisher.end(request_id)
    assert isinstance(end, Failed)
    assert end.error.code in {"provider_unavailable", "provider_refused"}
    assert "rescue: none" in end.error.message
    assert "first" in end.error.message
    assert await system.attempts() == before + 1
    if behaviour.startswith("429"):
        await asyncio.sleep(1.0)  # the pause is over


async def test_d6_rescue_before_output_ends_once_text_was_sent(
    system: System, publisher: RawPublisher
) -> None:
    await system.sim("PUT", "behaviour", {"first": "503"})
    rescued = await begin(publisher, "before_output")
    assert isinstance(await publisher.end(rescued), Completed)
    assert models(await publisher.stored(rescued)) == ["first", "first", "second"]

    await system.sim("PUT", "behaviour", {"first": "cut=5"})
    cut = await begin(publisher, "before_output")
    end = await publisher.end(cut)
    assert isinstance(end, Failed)
    assert end.error.code == "provider_unavailable"
    assert "rescue: before_output" in end.error.message
    events = await publisher.stored(cut)
    assert models(events) == ["first"]
    assert not [event for event in events if isinstance(event, Restarted)]

    whole = await begin(publisher, "before_output", stream=False)
    assert isinstance(await publisher.end(whole), Completed), (
        "no text of a whole reply is sent before its end"
    )


async def test_d6_rescue_restart_continues_after_text(system: System, publisher: RawPublisher) -> None:
    await system.sim("PUT", "behaviour", {"first": "cut=5"})
    request_id = await begin(publisher, "restart")
    assert isinstance(await publisher.end(request_id), Completed)
    assert [event for event in await publisher.stored(request_id) if isinstance(event, Restarted)]


@pytest.mark.parametrize(
    ("rescue", "after_text", "completes"),
    [
        ("none", False, False),
        ("none", True, False),
        ("before_output", False, True),
        ("before_output", True, False),
        ("restart", True, True),
    ],
)
async def test_d7_after_a_kill_another_worker_answers_only_as_rescue_allows(
    system: System, publisher: RawPublisher, rescue: Rescue, *, after_text: bool, completes: bool
) -> None:
    behaviour = "healthy" if after_text else "slow-first-token=4"
    await system.sim("PUT", "behaviour", {"first": "" if after_text else behaviour})
    await system.sim("PUT", "speed", {"tokens_per_second": 20, "first_token_ms": 0, "latency_ms": 0})
    request_id = await begin(publisher, rescue, prompt="Tell me of the river. [[tokens=80]]")

    async def begun() -> bool:
        wanted = Delta if after_text else Started
        return any(isinstance(event, wanted) for event in await publisher.stored(request_id))

    await until(begun)
    system.workers[-1].kill()
    await system.sim("PUT", "behaviour", {"first": ""})
    await system.sim("PUT", "speed", {"tokens_per_second": 0})
    replacement = system.new_worker("chat")
    await replacement.start()
    system.workers.append(replacement)

    end = await publisher.end(request_id)
    if rescue == "before_output":
        assert no_text_before_restarted(await publisher.stored(request_id))
    if completes:
        assert isinstance(end, Completed)
        return
    assert isinstance(end, Failed)
    assert end.error.code == "provider_unavailable"
    assert "the worker stopped responding" in end.error.message
    assert f"rescue: {rescue}" in end.error.message
    assert len(models(await publisher.stored(request_id))) == 1
