"""What HTTP clients see of a real guard: refusals in every dialect, redacted values, `/v1/moderations` (G1-G4, G6)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.edge_keys import usable_key
from tests.harness.processes.process import Process
from tests.harness.processes.system import System, shared_system, started
from tests.harness.requests.dialects import DIALECTS, looks_whole
from tests.harness.requests.edge_client import read_stream, request

LOCAL = {"timeout_s": 2.5}
SECTION: dict[str, Any] = {
    "wait_s": 3.0,
    "input": {"personal_data": "redact", "personal_data/us_ssn": "block"},
    "output": {"violence": "block"},
    "detectors": {"safety_model": {"enabled": True, "timeout_s": 2.5}, "personal_data": LOCAL},
}
ADDRESS = "anna.berg@river-mill.org"
BLOCKED = "My number is 536-22-8719, is it valid?"
UNSAFE = "Can I murder someone?"
"""The simulator repeats it, and its safety model calls it violence."""
QUICK = {"retry": {"max_attempts": 1}, "timeouts": {"total_s": 20, "non_streaming_s": 10}}
CHAINS = {"safety": ("sim-safety",)}


def authorization(ai: openai.AsyncOpenAI) -> dict[str, str]:
    return {"authorization": f"Bearer {ai.api_key}"}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = catalogue(CHAINS, role=QUICK, breaker={"failure_threshold": 10_000}, guard=SECTION)
    with shared_system(tmp_path_factory.mktemp("moderations"), config=config) as running:
        yield running


@pytest.fixture(scope="module")
def guard(system: System) -> Process:
    return started(system.new_guard())


@pytest.fixture(scope="module")
def edge(system: System) -> Process:
    return started(system.new_edge())


@pytest.fixture
async def ai(url: str, system: System, guard: Process) -> AsyncIterator[openai.AsyncOpenAI]:
    key = await usable_key(system, (url,))
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
        yield client


@pytest.mark.parametrize("name", ["chat", "responses", "messages"])
@pytest.mark.parametrize("stream", [False, True])
async def test_g1_a_blocked_request_is_a_400_with_its_categories(
    ai: openai.AsyncOpenAI, url: str, name: str, stream: bool
):
    dialect = DIALECTS[name]
    body = {"model": "chat", "stream": stream, **dialect.body(BLOCKED)}
    answer = await request("POST", url + dialect.path, body, headers=authorization(ai))
    assert answer.status == 400
    details = answer.error.get("details", answer.error)
    assert details["categories"] == ["personal_data/us_ssn"]
    assert details.get("code") or details["error_code"] == "blocked"
    assert "personal data" in answer.error["message"]
    assert "536" not in answer.error["message"]
    assert answer.headers["x-should-retry"] == "false"


async def test_g1_openais_sdk_raises_the_categories(ai: openai.AsyncOpenAI):
    asked: Any = [{"role": "user", "content": BLOCKED}]
    with pytest.raises(openai.BadRequestError) as refused:
        await ai.chat.completions.create(model="chat", messages=asked)
    assert refused.value.code == "blocked"
    assert isinstance(refused.value.body, dict)
    assert refused.value.body["categories"] == ["personal_data/us_ssn"]


async def test_g6_a_redacted_value_is_in_the_answer_and_not_at_the_provider(
    ai: openai.AsyncOpenAI, system: System
):
    asked: Any = [{"role": "user", "content": f"Write to {ADDRESS} today."}]
    raw = await ai.chat.completions.with_raw_response.create(model="chat", messages=asked)
    assert ADDRESS in str(raw.parse().choices[0].message.content)
    assert raw.headers["x-penstock-guarded"] == "personal_data/email;direction=input;action=redact;count=1"
    sent = await system.sim("GET", "last_request?model=m-chat")
    assert sent["messages"][-1]["content"] == "Write to [EMAIL_1] today."


@pytest.mark.parametrize("name", ["chat", "responses", "messages"])
async def test_g3_a_stream_that_is_blocked_late_ends_in_an_error_event(
    ai: openai.AsyncOpenAI, url: str, name: str
):
    dialect = DIALECTS[name]
    body = {"model": "chat", "stream": True, **dialect.body(f"{UNSAFE} I ask as {name}.")}
    events = await read_stream("POST", url + dialect.path, body, headers=authorization(ai))
    assert not looks_whole(dialect, events)
    end = events[-1]
    error = end.json["response"]["error"] if end.event == "response.failed" else end.json["error"]
    assert error.get("details", error)["categories"] == ["violence"]


async def test_g1_a_text_is_rated_in_openais_categories(ai: openai.AsyncOpenAI):
    raw = await ai.moderations.with_raw_response.create(input="how to build a bomb")
    reply = raw.parse()
    (result,) = reply.results
    assert result.flagged
    assert result.categories.illicit_violent
    assert result.category_scores.illicit_violent > 0.5
    assert not result.categories.sexual
    assert reply.id == f"modr-{raw.headers['x-request-id']}"


@pytest.mark.parametrize("parent", ["not a trace", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "ю" * 9])
async def test_g1_a_caller_with_a_wrong_trace_gets_its_rating(ai: openai.AsyncOpenAI, url: str, parent: str):
    wrong = {**authorization(ai), "traceparent": parent}
    answer = await request("POST", f"{url}/v1/moderations", {"input": "Good night"}, headers=wrong)
    assert answer.status == 200


async def test_g1_each_text_of_a_list_has_a_result(ai: openai.AsyncOpenAI):
    texts = ["Good morning", "I hate all of them", "How do I kill a process?", "", "хочу умереть"]
    reply = await ai.moderations.create(input=texts, model="omni-moderation-latest")
    assert [result.flagged for result in reply.results] == [False, True, False, False, True]
    assert reply.results[4].categories.self_harm


async def test_g1_the_parts_of_one_input_have_one_result_and_images_are_refused(ai: openai.AsyncOpenAI):
    parts: list[Any] = [{"type": "text", "text": "Good morning"}, {"type": "text", "text": "build a bomb"}]
    (result,) = (await ai.moderations.create(input=parts)).results
    assert result.flagged
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    with pytest.raises(openai.BadRequestError, match="images are not moderated here") as refused:
        await ai.moderations.create(input=[*parts, image])
    assert refused.value.param == "input[2]"


async def test_g1_a_key_needs_the_role_of_the_safety_model(ai: openai.AsyncOpenAI, system: System, url: str):
    allowed = await usable_key(system, (url,), "--role", "safety")
    assert (await ai.with_options(api_key=allowed).moderations.create(input="Good evening")).results
    other = await usable_key(system, (url,), "--role", "chat")
    with pytest.raises(openai.PermissionDeniedError, match="v1/moderations needs the role 'safety'"):
        await ai.with_options(api_key=other).moderations.create(input="Good evening")


async def test_g4_a_text_that_no_model_rated_is_not_called_harmless(ai: openai.AsyncOpenAI, system: System):
    await system.sim("PUT", "behaviour", {"sim-safety": "503"})
    try:
        with pytest.raises(openai.InternalServerError, match="safety_model") as failed:
            await ai.moderations.create(input="A text that was not rated before")
    finally:
        await system.sim("PUT", "behaviour", {"sim-safety": ""})
    assert (failed.value.status_code, failed.value.code) == (503, "guard_unavailable")
    assert failed.value.response.headers["retry-after"] == "5"


async def test_g1_without_a_detector_of_harmful_content_it_is_a_501(
    system: System, tmp_path: Path, ai: openai.AsyncOpenAI
):
    file = tmp_path / "local.yaml"
    file.write_text(catalogue(CHAINS, guard={"mode": "off"}))
    other = system.new_edge(PENSTOCK_CATALOGUE=str(file))
    await other.start()
    client = ai.with_options(base_url=f"{other.ready['url']}/v1")
    with pytest.raises(
        openai.InternalServerError, match=r"enable safety_model or openai_moderation"
    ) as failed:
        await client.moderations.create(input="Hello")
    assert failed.value.status_code == 501
    await other.terminate()


async def test_g4_without_a_guard_every_answer_is_a_503(
    ai: openai.AsyncOpenAI, system: System, guard: Process
):
    """The last test of this file: it stops the guard."""
    await guard.terminate()
    asked: Any = [{"role": "user", "content": "Hello"}]
    with pytest.raises(openai.InternalServerError) as unchecked:
        await ai.chat.completions.create(model="chat", messages=asked)
    assert (unchecked.value.status_code, unchecked.value.code) == (503, "guard_unavailable")
    assert int(unchecked.value.response.headers["retry-after"]) > 0
    with pytest.raises(openai.InternalServerError, match="does not answer") as failed:
        await ai.moderations.create(input=["one", "two"] * 20)
    assert (failed.value.status_code, failed.value.code) == (503, "guard_unavailable")
