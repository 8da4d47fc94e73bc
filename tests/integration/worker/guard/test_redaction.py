"""G6: values that the policy redacts never reach a provider, and its answer has them again."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterable
from itertools import count
from typing import Any

import pytest

from penstock.client.client import Client
from penstock.contract.guard.checks import GuardCheck, GuardVerdict
from penstock.contract.guard.policies import GuardPolicy
from penstock.runtime.buckets.changes import Author
from penstock.runtime.guard.changes import change_guard_policy
from tests.harness.processes.fake_guard import FakeGuard, emails, finding, verdict
from tests.harness.processes.system import System
from tests.harness.providers.said import answer_with, script
from tests.harness.providers.scripted_provider import (
    DONE,
    Call,
    End,
    Part,
    ScriptedProvider,
    chunk,
    head,
    whole,
)
from tests.harness.requests.jobs import job_in_state
from tests.harness.requests.replies import ask
from tests.harness.suite.waiting import until

EMAIL = re.compile(r"[a-z]+@example\.com")
PROMPT = "Write to ann@example.com and bob@example.com, then to ann@example.com."
HIDDEN = "Write to [EMAIL_1] and [EMAIL_2], then to [EMAIL_1]."
GUARD = {
    "input": {"prompt_injection": "block", "secrets": "flag", "personal_data": "redact"},
    "output": {"secrets": "allow", "personal_data": "redact"},
    "wait_s": 1,
    "accounts": {"careful": {"mode": "before"}, "sealed": {"restore": False}},
}


def finds_emails(check: GuardCheck) -> GuardVerdict:
    """Redacts what is an address, as the policy says."""
    return verdict(check, *emails(check))


@pytest.fixture(autouse=True)
async def guard(system: System) -> AsyncIterator[FakeGuard]:
    async with FakeGuard.running(system.nats.url) as running:
        running.decide = finds_emails
        yield running


def last_message(call: Call) -> str:
    content: str = call.body["messages"][-1]["content"]
    return content


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("account", ["demo", "careful", "sealed"])
async def test_g6_a_provider_sees_placeholders_only(
    system: System, provider: ScriptedProvider, guard: FakeGuard, account: str, *, stream: bool
) -> None:
    answer_with(provider, last_message)
    async with await system.client(account=account) as client:
        received = await ask(client, PROMPT, role="chat", stream=stream)
    (call,) = provider.calls
    assert call.body["messages"][-1]["content"] == HIDDEN
    first, second = guard.checks[:2]
    assert first.detectors == ("secrets", "personal_data")
    assert [text.text for text in first.texts] == [PROMPT]
    assert second.detectors == ("prompt_injection",)
    assert [text.text for text in second.texts] == [HIDDEN]
    (reported,) = received.completed.guarded
    assert (reported.direction, reported.action, reported.count) == ("input", "redact", 3)
    assert reported.name == "personal_data/email"
    assert received.text == (HIDDEN if account == "sealed" else PROMPT)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("each", [1, 7, 1000])
async def test_g3_g6_a_value_of_the_model_stays_a_placeholder_and_one_of_the_request_returns(
    client: Client, provider: ScriptedProvider, guard: FakeGuard, each: int, *, stream: bool
) -> None:
    said = "Dear [EMAIL_1], ask eve@example.com, not [EMAIL_9] or [EMA; eve@example.com is right."
    script(provider, said, each=each)
    received = await ask(client, "I am ann@example.com", role="chat", stream=stream)
    assert received.text == (
        "Dear ann@example.com, ask [EMAIL_2], not [EMAIL_9] or [EMA; [EMAIL_2] is right."
    )
    reported = {(found.direction, found.count) for found in received.completed.guarded}
    assert reported == {("input", 1), ("output", 2)}
    outputs = [check for check in guard.checks if check.direction == "output"]
    assert all(check.detectors == ("personal_data",) for check in outputs)
    assert not [text for check in outputs for text in check.texts if "Dear" in text.text[text.start :]]


@pytest.mark.parametrize("stream", [True, False])
async def test_g6_the_stored_result_of_a_job_is_redacted_and_restored(
    client: Client, provider: ScriptedProvider, *, stream: bool
) -> None:
    script(provider, "Dear [EMAIL_1], ask eve@example.com.")
    job = await client.submit("I am ann@example.com", role="chat", stream=stream)
    await job_in_state(client, job, "completed")
    result = await client.result(job)
    assert result is not None
    assert result.text == "Dear ann@example.com, ask [EMAIL_2]."


async def test_g3_clean_output_asks_nothing(
    client: Client, provider: ScriptedProvider, guard: FakeGuard
) -> None:
    said = "The river is 1,300 km long. It has 12 bridges (as of 2020)."
    script(provider, said, each=4)
    assert (await ask(client, "How long?", role="chat")).text == said
    assert [check for check in guard.checks if check.direction == "output"] == []


async def test_g3_reasoning_and_the_arguments_of_tool_calls_are_filtered_too(
    client: Client, provider: ScriptedProvider
) -> None:
    arguments = json.dumps({"to": "[EMAIL_1]", "cc": "eve@example.com"})
    deltas: list[dict[str, Any]] = [
        {"role": "assistant", "reasoning_content": "I write to [EMA"},
        {"reasoning_content": "IL_1], and to ev"},
        {"reasoning_content": "e@example.com too."},
        {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "mail", "arguments": ""}}]},
        *(
            {"tool_calls": [{"index": 0, "function": {"arguments": arguments[at : at + 5]}}]}
            for at in range(0, len(arguments), 5)
        ),
    ]
    chunks = [chunk(choices=[{"index": 0, "delta": delta, "finish_reason": None}]) for delta in deltas]
    provider.answer = lambda _: (head(), *chunks, chunk(None, "tool_calls"), DONE)
    received = await ask(client, "I am ann@example.com", role="chat")
    found = [choice["delta"] for choice in received.choices]
    reasoning = "".join(delta.get("reasoning_content", "") for delta in found)
    assert reasoning == "I write to ann@example.com, and to [EMAIL_2] too."
    calls = [call for delta in found for call in delta.get("tool_calls", ())]
    assert calls[0]["id"] == "c1"
    whole_arguments = "".join(call["function"].get("arguments", "") for call in calls)
    assert json.loads(whole_arguments) == {"to": "ann@example.com", "cc": "[EMAIL_2]"}
    assert received.completed.finish_reason == "tool_calls"


async def test_g3_an_attempt_that_is_repeated_has_the_same_placeholders(
    client: Client, provider: ScriptedProvider
) -> None:
    said = "Ask eve@example.com for [EMAIL_1]."
    calls = count()

    def answer(_: Call) -> Iterable[Part]:
        chunks = [chunk(said[at : at + 5]) for at in range(0, len(said), 5)]
        if next(calls) == 0:
            return (head(), *chunks[:-1], 0.1, End.RESET)
        return (head(), *chunks, chunk(None, "stop"), DONE)

    provider.answer = answer
    received = await ask(client, "I am ann@example.com", role="chat")
    assert received.text == "Ask [EMAIL_2] for ann@example.com."
    assert len(received.restarts) == 1
    (_, output) = received.completed.guarded
    assert (output.direction, output.count) == ("output", 1)


@pytest.mark.parametrize("stream", [True, False])
async def test_g3_a_finding_that_is_blocked_ends_the_answer_before_it(
    client: Client, provider: ScriptedProvider, guard: FakeGuard, *, stream: bool
) -> None:
    guard.decide = lambda check: (
        verdict(check, finding(0, 0, 9, "block")) if check.direction == "output" else verdict(check)
    )
    script(provider, "Ask our friend eve@example.com for help, please.")
    received = await ask(client, "Who knows?", role="chat", stream=stream)
    assert (received.code, received.failed.error.categories) == ("blocked", ("personal_data/email",))
    assert "Ask our friend ".startswith(received.text)


@pytest.mark.parametrize(("account", "code"), [("demo", "guard_unavailable"), ("lenient", None)])
async def test_g3_output_that_cannot_be_checked_passes_only_where_the_policy_says_so(
    system: System, provider: ScriptedProvider, guard: FakeGuard, account: str, code: str | None
) -> None:
    if account == "lenient":
        open_ = GuardPolicy(account=account, when_unavailable={"personal_data": "allow"})
        async with await system.client() as writer:
            js = writer._nc.jetstream()
            await change_guard_policy(js, account, lambda _: open_, Author("test", 0))
    said = "Ask eve@example.com or bob@example.com."
    guard.decide = lambda check: verdict(check) if check.direction == "input" else None
    script(provider, said)
    async with await system.client(account=account) as client:

        async def as_expected() -> bool:
            received = await ask(client, "Who knows?", role="chat")
            assert received.text == said if received.code is None else "Ask ".startswith(received.text)
            return received.code == code

        await until(as_expected)


async def test_g6_the_arguments_of_tool_calls_in_the_history_stay_json(
    client: Client, provider: ScriptedProvider
) -> None:
    answer_with(provider, last_message)
    arguments = json.dumps({"to": "ann@example.com", "text": 'say "hi"'})
    call = {"id": "c1", "type": "function", "function": {"name": "mail", "arguments": arguments}}
    messages = [
        {"role": "user", "content": "Write to ann@example.com"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "sent to ann@example.com"},
        {"role": "user", "content": [{"type": "text", "text": "Thanks, also to bob@example.com"}]},
    ]
    provider.answer = lambda _: (head("200 OK", "application/json"), whole("Done"))
    assert (await ask(client, messages, role="chat", stream=False)).completed
    (sent,) = provider.calls
    first, said, tool, last = sent.body["messages"]
    assert first["content"] == "Write to [EMAIL_1]"
    assert json.loads(said["tool_calls"][0]["function"]["arguments"]) == {
        "to": "[EMAIL_1]",
        "text": 'say "hi"',
    }
    assert tool["content"] == "sent to [EMAIL_1]"
    assert last["content"][0]["text"] == "Thanks, also to [EMAIL_2]"
