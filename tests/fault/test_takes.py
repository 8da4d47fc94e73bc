"""Parameters as each model takes them, and lists of models that prove little, with a provider of raw bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import yaml

from penstock.client.client import Client
from penstock.contract.reply import Adapted, Started
from tests.harness.catalogues import catalogue
from tests.harness.replies import ask
from tests.harness.scripted_provider import DONE, ScriptedProvider, chunk, head, scripted_provider, whole
from tests.harness.system import System, shared_system

JSON = "application/json"
CHAINS = {"chat": ("plain",), "fast": ("picky",), "logic": ("stubborn", "plain"), "coding": ("talker",)}
MODELS = {
    "plain": {
        "takes": {"max_tokens": "max_completion_tokens", "temperature": False, "developer_role": "system"}
    },
    "talker": {"takes": {"stream_options": False}},
}
ROLE = {
    "parameters": {"temperature": 0.4, "max_tokens": 50},
    "timeouts": {"total_s": 10, "whole_s": 5, "first_token_s": 3},
    "retry": {"base_s": 0.02, "cap_s": 0.1},
}


class Recorded:
    """Answers every body and keeps it; refuses those with a parameter of these."""

    def __init__(self, *refused: str) -> None:
        self.bodies: list[dict[str, Any]] = []
        self._refused = refused

    def __call__(self, body: dict[str, Any]) -> Iterable[bytes]:
        self.bodies.append(body)
        for name in self._refused:
            if name in body:
                error = {
                    "message": f"Unsupported parameter: '{name}' is not supported with this model.",
                    "type": "invalid_request_error",
                    "param": name,
                    "code": "unsupported_parameter",
                }
                return (head("400 Bad Request", JSON), json.dumps({"error": error}).encode())
        if body["stream"]:
            return (head(), chunk("Hello"), chunk(finish_reason="stop"), DONE)
        return (head("200 OK", JSON), whole("Hello"))


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedProvider]:
    with scripted_provider() as running:
        # In another form than OpenAI's, and without one of the names of the catalogue.
        listed = [{"name": f"models/{name}:latest"} for name in ("plain", "STUBBORN", "talker")]
        running.listing = (json.dumps({"models": listed}).encode(),)
        yield running


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, provider: ScriptedProvider) -> Iterator[System]:
    config = yaml.safe_load(catalogue(CHAINS, models=MODELS, role=ROLE))
    config["providers"]["simulator"]["base_url"] = provider.url
    with shared_system(
        tmp_path_factory.mktemp("takes"), ",".join(CHAINS), config=yaml.safe_dump(config)
    ) as running:
        yield running


def started(events: Iterable[object]) -> list[tuple[Adapted, ...]]:
    return [event.adapted for event in events if isinstance(event, Started)]


@pytest.mark.parametrize("stream", [True, False])
async def test_what_a_model_does_not_take_is_not_sent_and_is_told(
    provider: ScriptedProvider, client: Client, stream: bool
) -> None:
    provider.behaviours["plain"] = recorded = Recorded()

    talk = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hello?"}]
    received = await ask(client, talk, role="chat", stream=stream, max_tokens=20, temperature=0.1)

    assert received.text == "Hello"
    (body,) = recorded.bodies
    assert (body["max_completion_tokens"], body.keys() & {"max_tokens", "temperature"}) == (20, set())
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    told = [(each.parameter, each.change, each.sent) for each in received.completed.adapted]
    assert told == [
        ("max_tokens", "renamed", "max_completion_tokens"),
        ("temperature", "omitted", ""),
        ("developer_role", "replaced", '"system"'),
    ]
    assert started(received.events) == [received.completed.adapted]


async def test_a_stream_without_stream_options_is_estimated(
    provider: ScriptedProvider, client: Client
) -> None:
    provider.behaviours["talker"] = recorded = Recorded()

    received = await ask(client, "Hello?", role="coding", stream=True)

    assert received.text == "Hello"
    assert "stream_options" not in recorded.bodies[0]
    assert received.completed.adapted == (), "nobody asked for them"
    assert received.completed.cost_microusd == 0


async def test_a_refused_parameter_is_learned_by_the_worker_and_told(
    system: System, provider: ScriptedProvider, client: Client
) -> None:
    provider.behaviours["picky"] = recorded = Recorded("temperature", "max_tokens")

    received = [await ask(client, f"Hello {n}?", role="fast", stream=n % 2 == 1) for n in range(3)]

    assert [each.text for each in received] == ["Hello"] * 3
    sent = [
        sorted(body.keys() & {"temperature", "max_tokens", "max_completion_tokens"})
        for body in recorded.bodies
    ]
    assert sent == [["max_tokens", "temperature"], ["max_tokens"], *[["max_completion_tokens"]] * 3]
    for each in received:
        told = [(adapted.parameter, adapted.change) for adapted in each.completed.adapted]
        assert told == [("max_tokens", "renamed"), ("temperature", "omitted")]
    log = system.workers[0].log.read_text(encoding="utf-8")
    for line in ("{temperature: no}", "{max_tokens: max_completion_tokens}"):
        assert log.count(f"models.picky.takes: {line}") == 1


async def test_a5_a_model_that_is_not_listed_is_called_and_told_once(system: System) -> None:
    log = system.workers[0].log.read_text(encoding="utf-8")
    assert log.count("does not list picky; it is called all the same") == 1
    assert not any(f"does not list {name}" in log for name in ("plain", "stubborn", "talker"))


async def test_tools_are_not_left_out_and_the_next_model_answers(
    provider: ScriptedProvider, client: Client
) -> None:
    provider.behaviours["stubborn"] = stubborn = Recorded("tools")
    provider.behaviours["plain"] = Recorded()

    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    received = await ask(client, "Hello?", role="logic", tools=tools)

    assert (received.text, received.models) == ("Hello", ["stubborn", "plain"])
    assert [body["tools"] for body in stubborn.bodies] == [tools]
