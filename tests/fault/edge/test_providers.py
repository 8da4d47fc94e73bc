"""D6, D10: every behaviour of the simulator, streamed and whole: the whole answer or a clean error, in time."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import get_args

import pytest

from services.simulator.behaviour.model_names import Kind
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system, started
from tests.harness.requests.edge_client import chat_body, open_stream, request, text_of
from tests.harness.requests.replies import simulator_answer

TIMEOUTS = {"total_s": 4, "non_streaming_s": 0.8, "first_token_s": 0.7, "between_tokens_s": 0.6}
ROLE = {
    "retry": {"initial_backoff_s": 0.02, "max_backoff_s": 0.1, "same_model_retries": 0},
    "max_model_wait_s": 0.2,
    "timeouts": TIMEOUTS,
}
KINDS = [kind for kind in get_args(Kind) if kind != "withdrawn"]
"""A withdrawn model is not called again for a long time, by which the tests would depend on each other."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    chains = {"chat": ("actor", "stand-in"), "logic": ("solo",)}
    limits = {"limits": {"requests_per_minute": 60_000}}  # so that none is learned
    config = catalogue(
        chains,
        role=ROLE,
        breaker={"failure_threshold": 10_000},
        models=dict.fromkeys(("actor", "stand-in", "solo"), limits),
    )
    with shared_system(tmp_path_factory.mktemp("edge"), config=config) as running:
        yield running


@pytest.fixture(scope="module")
def url(system: System) -> str:
    return str(started(system.new_edge()).ready["url"])


@pytest.fixture(autouse=True)
async def healthy_again(system: System, url: str) -> AsyncIterator[None]:
    await system.sim("POST", "reset")
    yield
    await system.sim("PUT", "behaviour", {"actor": "", "solo": ""})
    answer = await request("POST", f"{url}/v1/chat/completions", chat_body("Still healthy?", "fast"))
    assert answer.status == 200


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("role", ["chat", "logic"])
async def test_d6_d10_a_whole_answer_or_a_clean_error(system: System, url: str, kind: str, role: str):
    prompt, model = f"Whole with {kind}", "actor" if role == "chat" else "solo"
    await system.sim("PUT", "behaviour", {model: kind})
    began_s = time.monotonic()

    answer = await request("POST", f"{url}/v1/chat/completions", chat_body(prompt, role))

    assert time.monotonic() - began_s < TIMEOUTS["total_s"] + 8
    if answer.status == 200:
        content = answer.json["choices"][0]["message"]["content"]
        assert content == await simulator_answer(system, answer.json["model"], prompt)
    else:
        assert 400 <= answer.status < 600
        assert answer.error["message"]
        assert answer.error["code"]
    if role == "chat" and kind != "content-filter":
        assert answer.status == 200


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("role", "rescue"), [("logic", "error"), ("chat", "error"), ("chat", "hold"), ("chat", "restart")]
)
async def test_d6_d10_a_whole_stream_or_a_clean_error(
    system: System, url: str, kind: str, role: str, rescue: str
):
    prompt, model = f"Streamed with {kind}", "actor" if role == "chat" else "solo"
    await system.sim("PUT", "behaviour", {model: kind})
    headers = {"x-penstock-rescue": rescue}
    began_s = time.monotonic()

    async with open_stream(
        "POST", f"{url}/v1/chat/completions", chat_body(prompt, role, stream=True), headers=headers
    ) as stream:
        events = [event async for event in stream.events()] if stream.status == 200 else []
        assert stream.status == 200 or (await stream.response.json())["error"]["code"]

    assert time.monotonic() - began_s < TIMEOUTS["total_s"] + 8
    is_done = [event.data == "[DONE]" for event in events]
    if not events:
        assert 400 <= stream.status < 600
    elif is_done[-1]:
        last_part = max((n for n, event in enumerate(events) if event.event), default=-1) + 1
        answered_by = events[-2].json["model"]
        assert text_of(events[last_part:]) == await simulator_answer(system, answered_by, prompt)
        assert events[-2].json["choices"][0]["finish_reason"] == "stop"
        assert is_done.count(True) == 1
    else:
        assert events[-1].json["error"]["message"]
        assert not any(is_done)
    if role == "chat" and rescue != "error" and kind != "content-filter":
        assert is_done[-1]
