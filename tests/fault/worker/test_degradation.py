"""D5: shorter answers for a slow model, less history for a failing one, another model without quota; each is reported
and ends by itself. The simulator shows the bodies that were sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from penstock.client.client import Client
from penstock.contract.events import UsageRecorded
from penstock.contract.reply import Started
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.records.stored_events import stored_events
from tests.harness.requests.replies import ReceivedReply, ask
from tests.harness.suite.waiting import until

SHORT_WINDOW = {"window_s": 4, "min_duration_s": 0.5}
RULES = {
    "on_high_latency": {**SHORT_WINDOW, "slow_s": 0.3, "slow_first_token_s": 0.3, "min_calls": 3},
    "on_errors": {**SHORT_WINDOW, "min_calls": 4},
}
OFF = {
    "on_rate_limit": {"enabled": False},
    "on_high_latency": {**RULES["on_high_latency"], "enabled": False},
    "on_errors": {**RULES["on_errors"], "enabled": False},
}
SHORT = {"total_s": 2.0, "first_token_s": 2.0}
LIMITED = {"requests_per_minute": 1}
CONFIG = catalogue(
    {"chat": ["sluggish"], "coding": ["shaky"], "fast": ["first", "second"], "creative": ["third", "fourth"]},
    models={"first": {"limits": LIMITED}, "third": {"limits": LIMITED}},
    role={"parameters": {"max_tokens": 2000}, "retry": {"initial_backoff_s": 0.01, "max_backoff_s": 0.02}},
    roles={"creative": {"degradation": OFF, "timeouts": SHORT}, "logic": {"degradation": OFF}},
    degradation=RULES,
)
SPANS = "spans.jsonl"
SYSTEM = {"role": "system", "content": "Be brief."}
MESSAGES = [{"role": ("user", "assistant")[each % 2], "content": f"message {each}"} for each in range(13)]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("degradation")
    env = {"PENSTOCK_TRACES": f"file:{directory / SPANS}"}
    with shared_system(directory, config=CONFIG, env=env) as running:
        yield running


async def received(system: System, model: str) -> dict[str, Any]:
    """The body of the last request that the provider received."""
    body: dict[str, Any] = await system.sim("GET", f"last_request?model={model}")
    return body


def rules(received: ReceivedReply) -> list[str]:
    """The rules in the reply, which must be the same in `started` and `completed`."""
    started = [event for event in received.events if isinstance(event, Started)][-1]
    assert started.degraded == received.completed.degraded
    return [each.rule for each in received.completed.degraded]


async def test_d5_the_output_limit_is_reduced_while_a_model_is_slow(system: System, client: Client) -> None:
    await system.sim("PUT", "behaviour", {"sluggish": "slow=0.4"})
    early = await asyncio.gather(*(ask(client, "hello", role="chat") for _ in range(4)))
    assert [rules(each) for each in early] == [[]] * 4
    assert (await received(system, "sluggish"))["max_tokens"] == 2000

    cut = await ask(client, "hello", role="chat")
    assert (await received(system, "sluggish"))["max_tokens"] == 1400
    (reported,) = cut.completed.degraded
    assert (reported.rule, reported.what, reported.before, reported.after) == (
        "high_latency",
        "max_tokens",
        2000,
        1400,
    )
    assert reported.why == "4 of 4 calls of sluggish were slow in the last 4 s"
    low = await ask(client, "hello", role="chat", max_tokens=500)
    assert (rules(low), (await received(system, "sluggish"))["max_tokens"]) == ([], 500)
    opted_out = await ask(client, "hello", role="chat", degrade=False)
    assert (rules(opted_out), (await received(system, "sluggish"))["max_tokens"]) == ([], 2000)

    usage = {event.id: event.degraded for event in await stored_events(system, UsageRecorded)}
    assert (usage[cut.id], usage[early[0].id]) == (("high_latency",), ())
    shown = await system.metrics()
    assert 'penstock_degraded_total{model="sluggish",role="chat",rule="high_latency"}' in shown

    await system.sim("PUT", "behaviour", {"sluggish": ""})

    async def over() -> bool:
        return rules(await ask(client, "hello", role="chat")) == []

    await until(over)
    assert (await received(system, "sluggish"))["max_tokens"] == 2000


async def test_d5_the_history_is_trimmed_while_a_model_fails(system: System, client: Client) -> None:
    await system.sim("PUT", "behaviour", {"shaky": "flaky=0.5"})
    for _ in range(4):
        await ask(client, "hello", role="coding")

    cut = await ask(client, [SYSTEM, *MESSAGES], role="coding", stream=False)
    (reported,) = cut.completed.degraded
    assert (reported.rule, reported.what, reported.before, reported.after) == ("errors", "messages", 13, 5)
    assert "of shaky failed in the last 4 s" in reported.why
    assert (await received(system, "shaky"))["messages"] == [SYSTEM, *MESSAGES[-5:]], (
        "the history begins with a user message"
    )
    opted_out = await ask(client, MESSAGES, role="coding", degrade=False)
    assert (rules(opted_out), (await received(system, "shaky"))["messages"]) == ([], MESSAGES)

    await system.sim("PUT", "behaviour", {"shaky": ""})

    async def over() -> bool:
        return rules(await ask(client, MESSAGES, role="coding")) == []

    await until(over)
    assert (await received(system, "shaky"))["messages"] == MESSAGES


async def test_d5_without_quota_the_next_model_answers_and_is_reported(
    system: System, client: Client
) -> None:
    await ask(client, "hello", role="fast")
    second = await ask(client, "hello", role="fast")
    assert (second.completed.model, rules(second)) == ("second", ["rate_limit"])
    assert second.completed.degraded[0].why == "no quota is left of first"

    async def traced() -> bool:
        spans = [
            line
            for line in (system.directory / SPANS).read_text().splitlines()
            if "penstock.degraded" in line
        ]
        return any(
            "chat second" in span and "rate_limit: no quota is left of first" in span for span in spans
        )

    await until(traced)


async def test_d5_each_rule_can_be_disabled_for_a_role(system: System, client: Client) -> None:
    await ask(client, "hello", role="creative")
    waited = await ask(client, "hello", role="creative")
    assert waited.failed.error.code == "deadline_exceeded"
    assert "quota of third" in waited.failed.error.message
    assert await system.attempts("fourth") == 0

    await system.sim("PUT", "behaviour", {"m-logic": "slow=0.4"})
    slow = [await ask(client, "hello", role="logic") for _ in range(5)]
    assert [rules(each) for each in slow] == [[]] * 5
