"""G6: values that the policy redacts never reach a provider, and its answer has them again."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterable, Iterator

import pytest
import yaml

from penstock.client.client import Client
from penstock.contract.guard.checks import Finding, GuardCheck, GuardVerdict
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.fake_guard import FakeGuard, verdict
from tests.harness.processes.system import System, shared_system
from tests.harness.providers.scripted_provider import (
    DONE,
    Call,
    Part,
    ScriptedProvider,
    chunk,
    head,
    scripted_provider,
    whole,
)
from tests.harness.requests.replies import ask

EMAIL = re.compile(r"[a-z]+@example\.com")
PROMPT = "Write to ann@example.com and bob@example.com, then to ann@example.com."
HIDDEN = "Write to [EMAIL_1] and [EMAIL_2], then to [EMAIL_1]."
GUARD = {
    "input": {"prompt_injection": "block", "secrets": "flag", "personal_data": "redact"},
    "output": {"secrets": "allow", "personal_data": "redact"},
    "accounts": {"careful": {"mode": "before"}, "sealed": {"restore": False}},
}


def finds_emails(check: GuardCheck) -> GuardVerdict:
    """Redacts what is an address, as the policy says."""
    found = [
        Finding(
            text=index,
            start=match.start(),
            end=match.end(),
            category="personal_data",
            kind="email",
            detector="personal_data",
            action="redact",
        )
        for index, text in enumerate(check.texts)
        for match in EMAIL.finditer(text.text)
        if "personal_data" in check.detectors and match.end() > text.start
    ]
    return verdict(check, *found)


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedProvider]:
    with scripted_provider("m-chat") as running:
        yield running


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, provider: ScriptedProvider) -> Iterator[System]:
    config = yaml.safe_load(catalogue(guard=GUARD))
    config["providers"]["simulator"]["base_url"] = provider.url
    directory = tmp_path_factory.mktemp("redacted")
    with shared_system(directory, "chat", config=yaml.safe_dump(config)) as running:
        yield running


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    async with await system.client() as connected:
        yield connected


@pytest.fixture(autouse=True)
async def guard(system: System) -> AsyncIterator[FakeGuard]:
    async with FakeGuard.running(system.nats.url) as running:
        running.decide = finds_emails
        yield running


def echo(provider: ScriptedProvider, *, each: int = 3) -> None:
    """Answer with the last message, `each` characters a chunk."""

    def answer(call: Call) -> Iterable[Part]:
        said = call.body["messages"][-1]["content"]
        if not call.body.get("stream"):
            body = whole(said)
            return (head("200 OK", "application/json", f"Content-Length: {len(body)}"), body)
        chunks = [chunk(said[at : at + each]) for at in range(0, len(said), each)]
        return (head(), *chunks, chunk(None, "stop"), DONE)

    provider.calls.clear()
    provider.answer = answer


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("account", ["demo", "careful", "sealed"])
async def test_g6_a_provider_sees_placeholders_only(
    system: System, provider: ScriptedProvider, guard: FakeGuard, account: str, *, stream: bool
) -> None:
    echo(provider)
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
    assert (reported.name, reported.action, reported.count) == ("personal_data/email", "redact", 3)


async def test_g6_the_arguments_of_tool_calls_in_the_history_stay_json(
    client: Client, provider: ScriptedProvider
) -> None:
    echo(provider)
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
