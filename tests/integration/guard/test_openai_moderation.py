"""G1, G2: the moderation endpoint, as it answers and as it fails, over HTTP."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client as Nats

from penstock.bus.ids import new_id
from penstock.cli.local.nats_server import NatsServer
from penstock.contract.guard.checks import CheckedText, GuardCheck, GuardVerdict
from penstock.runtime.guard.client import GuardClient
from services.guard.composition import LoadedLocally
from services.simulator.answers.moderation import moderate
from tests.harness.processes.guards import RunningGuard, running_guard
from tests.harness.providers.marking_detectors import marks
from tests.harness.providers.scripted_provider import Call, Part, ScriptedProvider, head, scripted_provider
from tests.harness.suite.waiting import until

KEY = "the-key"
HARMFUL = "I hate all of them"


def answer(*results: Any) -> Iterable[Part]:
    body = json.dumps({"id": "modr-1", "model": "omni", "results": results}).encode()
    return [head(content_type="application/json"), body]


def moderated(call: Call) -> Iterable[Part]:
    return answer(*map(moderate, call.body["input"]))


def refusal(status: str, *headers: str, message: str = "no") -> Iterable[Part]:
    return [head(status, "application/json", *headers), json.dumps({"error": {"message": message}}).encode()]


@pytest.fixture
def endpoint() -> Iterator[ScriptedProvider]:
    with scripted_provider() as provider:
        provider.answer = moderated
        yield provider


@pytest.fixture
async def guard(
    nats_server: NatsServer, endpoint: ScriptedProvider, tmp_path: Path
) -> AsyncIterator[RunningGuard]:
    section = {
        "input": {"hate": "block", "secrets": "flag"},
        "detectors": {"openai_moderation": {"enabled": True, "base_url": endpoint.url, "timeout_s": 3.0}},
        "accounts": {"strict": {"input": {"hate": "block"}}},
    }
    settings = {"secrets_dir": str(tmp_path), "secrets_poll_s": 0.1}
    local = LoadedLocally(marks())
    async with running_guard(nats_server.url, section, local, key=KEY, settings=settings) as running:
        yield running


@pytest.fixture
async def ask(nc: Nats, guard: RunningGuard):
    client = GuardClient(nc)
    await client.start()

    async def check(*texts: str, detectors: tuple[str, ...] = ("openai_moderation",)) -> GuardVerdict:
        checked = tuple(CheckedText(text=text) for text in texts)
        return await client.check(
            GuardCheck(id=new_id(), account="shop", texts=checked, detectors=detectors), 10
        )

    yield check
    await client.stop()


async def test_g1_all_texts_go_in_one_call_and_findings_name_theirs(ask, endpoint: ScriptedProvider):
    verdict = await ask("hello", HARMFUL, "thanks")
    assert [(each.text, each.category, each.action) for each in verdict.findings] == [(1, "hate", "block")]
    assert verdict.findings[0].detector == "openai_moderation"
    assert verdict.scores["violence"] == 0.0001
    (call,) = endpoint.calls
    assert call.body == {"model": "omni-moderation-latest", "input": ["hello", HARMFUL, "thanks"]}
    assert call.key == KEY


async def test_g1_a_long_text_is_cut_into_pieces_of_several_calls(ask, endpoint: ScriptedProvider):
    verdict = await ask("".join(f"{number} " for number in range(30_000)) + HARMFUL)
    assert [each.category for each in verdict.findings] == ["hate"]
    assert len(endpoint.calls) == 3
    assert all(len(piece) <= 10_000 for call in endpoint.calls for piece in call.body["input"])


async def test_g2_an_exhausted_quota_is_the_detectors_own_and_pauses_it(
    ask, endpoint: ScriptedProvider, guard: RunningGuard
):
    endpoint.answer = lambda _: refusal("429 Too Many Requests", "Retry-After: 30")
    for _ in range(3):
        verdict = await ask("<jwt:x>", detectors=("openai_moderation", "secrets"))
        assert [(each.detector, each.why, each.refuses) for each in verdict.failures] == [
            ("openai_moderation", "no quota", False)
        ]
        assert [each.category for each in verdict.findings] == ["secrets"]
    assert len(endpoint.calls) == 1, "neither the SDK nor the guard calls again within the pause"
    labels = {"detector": "openai_moderation", "why": "no quota"}
    assert guard.metric("penstock_guard_detector_failures_total", **labels) == 3


async def test_g2_a_wait_in_the_message_is_read(ask, endpoint: ScriptedProvider):
    message = "Rate limit reached for default-moderation-api. Limit: 3 / min. Please try again in 20s."
    endpoint.answer = lambda _: refusal("429 Too Many Requests", message=message)
    await ask("one")
    await until(lambda: len(endpoint.calls) == 1)
    assert [each.why for each in (await ask("two")).failures] == ["no quota"]
    assert len(endpoint.calls) == 1


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        (refusal("500 Internal Server Error", message="secret text"), "the moderation endpoint: HTTP 500"),
        (refusal("401 Unauthorized"), "the moderation endpoint: HTTP 401"),
        ([head("302 Found", "text/plain", "Location: http://127.0.0.1:9/v1")], "HTTP 302"),
        ([head(content_type="application/json"), b"{"], "cannot be read"),
        ([head(content_type="text/html"), b"<html>"], "cannot be read"),
        (answer(), "rated 0 of 1 texts"),
        ([b""], "the moderation endpoint: API"),
    ],
    ids=["500", "401", "redirect", "half", "html", "too few", "closed"],
)
async def test_g2_an_outage_opens_the_breaker_after_five_calls(
    ask, endpoint: ScriptedProvider, caplog: pytest.LogCaptureFixture, parts: Iterable[Part], why: str
):
    caplog.set_level(logging.DEBUG)
    endpoint.answer = lambda _: parts
    for number in range(5):
        (failure,) = (await ask(f"a private text {number}")).failures
        assert why in failure.why
    assert [each.why for each in (await ask("a private text")).failures] == ["breaker open"]
    assert len(endpoint.calls) == 5
    ours = [
        record.getMessage() for record in caplog.records if record.name.startswith(("services", "penstock"))
    ]
    assert "private" not in str(ours)
    assert "secret text" not in str(ours)


async def test_g2_a_refused_text_does_not_stop_the_others(ask, endpoint: ScriptedProvider):
    endpoint.answer = lambda _: refusal("400 Bad Request")
    for number in range(6):
        assert [each.why for each in (await ask(str(number))).failures] == [
            "the moderation endpoint: HTTP 400"
        ]
    endpoint.answer = moderated
    assert (await ask(HARMFUL)).action == "block"


async def test_g2_a_slow_endpoint_is_given_up_in_time(ask, endpoint: ScriptedProvider):
    endpoint.answer = lambda call: [9.0, *moderated(call)]
    verdict = await ask(HARMFUL)
    assert [each.why for each in verdict.failures] == ["timeout"]
    assert 2_900 < verdict.elapsed_ms < 8_000


async def test_a6_a_key_that_is_rotated_is_used(ask, endpoint: ScriptedProvider, tmp_path: Path):
    (tmp_path / "OPENAI_API_KEY").write_text("the-next-key\n")
    sent = iter(range(10_000))

    async def used() -> bool:
        await ask(str(next(sent)))
        return endpoint.calls[-1].key == "the-next-key"

    await until(used)
