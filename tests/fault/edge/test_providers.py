"""D6, D10: every behaviour of the simulator on every route: the whole answer or a clean error, in time."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, get_args

import pytest
from msgspec.structs import replace

from services.simulator.behaviour.model_names import Kind
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system, started
from tests.harness.requests.dialects import DIALECTS, Dialect, Summary, last_part, looks_whole
from tests.harness.requests.edge_client import ReceivedEvent, chat_body, open_stream, request
from tests.harness.requests.replies import simulator_answer

TIMEOUTS = {"total_s": 4, "non_streaming_s": 0.8, "first_token_s": 0.7, "between_tokens_s": 0.6}
ROLE = {
    "retry": {"initial_backoff_s": 0.02, "max_backoff_s": 0.1, "same_model_retries": 0},
    "max_model_wait_s": 0.2,
    "timeouts": TIMEOUTS,
}
KINDS = [kind for kind in get_args(Kind) if kind != "withdrawn"]
"""A withdrawn model is not called again for a long time, by which the tests would depend on each other."""

BRIEFLY = ("healthy", "429", "cut", "stall", "malformed", "no-done", "content-filter")
"""The behaviours with which `make test` tests every route; all routes translate the same chat completions."""
ALIKE = ("slow", "slow-first-token", "429-bare")
"""Behaviours of an only model whose requests end as those with `silent` and `429` do, and wait as long."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    chains = {"chat": ("actor", "stand-in"), "logic": ("solo",)}
    limits = {"limits": {"requests_per_minute": 60_000}}  # so that none is learned
    config = catalogue(
        chains,
        role=ROLE,
        breaker={"failure_threshold": 10_000},
        models={"actor": limits, "stand-in": {**limits, "context_tokens": 256_000}, "solo": limits},
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


def rows(*cases: tuple[str, ...]) -> list[Any]:
    """Each case with each behaviour and each route; those that `make test` leaves out are marked as proofs."""

    def is_brief(case: tuple[str, ...], kind: str, name: str) -> bool:
        if case[0] == "logic" and kind in ALIKE:
            return False
        return name == "chat" or (kind in BRIEFLY and case in {("chat",), ("chat", "error")})

    return [
        pytest.param(
            *case, kind, DIALECTS[name], marks=[] if is_brief(case, kind, name) else [pytest.mark.prove]
        )
        for case in cases
        for kind in KINDS
        for name in DIALECTS
    ]


def row_id(value: object) -> str:
    return value.path.rpartition("/")[2] if isinstance(value, Dialect) else str(value)


@pytest.mark.parametrize(("role", "kind", "dialect"), rows(("chat",), ("logic",)), ids=row_id)
async def test_d6_d10_a_whole_answer_or_a_clean_error(
    system: System, url: str, role: str, kind: str, dialect: Dialect
):
    prompt, model = f"Whole with {kind}", "actor" if role == "chat" else "solo"
    await system.sim("PUT", "behaviour", {model: kind})
    began_s = time.monotonic()

    answer = await request("POST", url + dialect.path, {"model": role, **dialect.body(prompt)})

    assert time.monotonic() - began_s < TIMEOUTS["total_s"] + 8
    if answer.status == 200:
        await assert_answered(
            system, prompt, dialect.whole_text_of(answer.json), dialect.summary(answer.json)
        )
    else:
        assert_clean_error(answer.status, answer.json)
    if role == "chat" and kind != "content-filter":
        assert answer.status == 200


@pytest.mark.parametrize(
    ("role", "rescue", "kind", "dialect"),
    rows(("logic", "error"), ("chat", "error"), ("chat", "hold"), ("chat", "restart")),
    ids=row_id,
)
async def test_d6_d10_a_whole_stream_or_a_clean_error(
    system: System, url: str, role: str, rescue: str, kind: str, dialect: Dialect
):
    prompt, model = f"Streamed with {kind}", "actor" if role == "chat" else "solo"
    await system.sim("PUT", "behaviour", {model: kind})
    body = {"model": role, "stream": True, **dialect.body(prompt), **dialect.stream_options}
    began_s = time.monotonic()

    events: list[ReceivedEvent] = []
    async with open_stream("POST", url + dialect.path, body, headers={"x-penstock-rescue": rescue}) as stream:
        if stream.status == 200:
            events = [event async for event in stream.events()]
            assert stream.ended
        else:
            assert_clean_error(stream.status, await stream.response.json())

    assert time.monotonic() - began_s < TIMEOUTS["total_s"] + 8
    is_whole = looks_whole(dialect, events[-1:])
    if is_whole:
        part = last_part(events)
        summary = dialect.stream_summary(part)
        if dialect.path == "/v1/messages" and rescue == "error":
            # `message_start` names the model that began; another one may have finished its text.
            summary = replace(summary, model=await author(system, prompt, dialect.text_of(part)))
        await assert_answered(system, prompt, dialect.text_of(part), summary)
    elif events:
        assert events[-1].event == dialect.error
        assert "error" in events[-1].json or events[-1].json["response"]["error"]
        assert not looks_whole(dialect, events)
    if role == "chat" and rescue != "error" and kind != "content-filter":
        assert is_whole


async def author(system: System, prompt: str, text: str) -> str:
    """The model whose answer this is."""
    models = ("actor", "stand-in", "solo")
    (found,) = [model for model in models if await simulator_answer(system, model, prompt) == text]
    return found


async def assert_answered(system: System, prompt: str, text: str, summary: Summary) -> None:
    """The answer is the one that the reported model gives, and so is the usage."""
    direct = await request(
        "POST",
        f"{system.simulator.ready['url']}/v1/chat/completions",
        chat_body(prompt, f"{summary.model}--healthy"),
    )
    expected, usage = direct.json["choices"][0]["message"]["content"], direct.json["usage"]
    assert text == expected
    assert (summary.input_tokens, summary.output_tokens) == (
        usage["prompt_tokens"],
        usage["completion_tokens"],
    )


def assert_clean_error(status: int, body: Any) -> None:
    assert 400 <= status < 600
    error = body["error"]
    assert error["message"]
    assert error.get("code") or error["details"]["error_code"]
