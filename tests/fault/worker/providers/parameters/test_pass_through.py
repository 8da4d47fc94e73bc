"""E1, A4: a request reaches the provider unchanged, and its response is returned unchanged."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from penstock.client.client import Client
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.requests.replies import RawPublisher, ask

CHAINS = {
    "chat": ("plain",),
    "reasoning": ("reasoning-one",),
    "vision": ("blind", "seeing"),
    "creative": ("muse",),
    "fast": ("quick",),
}
MODELS = {"blind": {"supports_vision": False}}
ROLES = {
    "creative": {
        "parameters": {"temperature": 0.4, "frequency_penalty": 0.3, "presence_penalty": 0.2},
        "ceilings": {"temperature": 0.4},
    },
    "fast": {
        "parameters": {"temperature": 0.2, "top_p": 0.9, "max_tokens": 1200},
        "ceilings": {"max_tokens": 2000},
    },
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Wie ist das Wetter? — погода",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
                "required": ["city", "days"],
            },
        },
    }
]
GATEWAY_FIELDS = {"model", "stream", "stream_options"}
PIXEL = "data:image/png;base64," + base64.b64encode(bytes(range(256)) * 40).decode()


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = catalogue(CHAINS, models=MODELS, roles=ROLES)
    with shared_system(tmp_path_factory.mktemp("pass-through"), config=config) as running:
        yield running


async def last_request(system: System, model: str) -> dict[str, Any]:
    body: dict[str, Any] = await system.sim("GET", f"last_request?model={model}")
    return body


async def direct_answer(system: System, body: dict[str, Any]) -> dict[str, Any]:
    """The provider's response to the same body, without the gateway."""
    url = f"{system.simulator.ready['url']}/v1/chat/completions"
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as answer:
        response: dict[str, Any] = await answer.json()
        return response


def without_identity(response: dict[str, Any]) -> dict[str, Any]:
    """The response without the fields that differ between two equal calls."""
    return {name: value for name, value in response.items() if name not in {"id", "created"}}


async def test_all_fields_of_a_request_arrive_unchanged(system: System, client: Client) -> None:
    body = {
        "n": 2,
        "seed": 7,
        "temperature": 0.123456789,
        "top_p": 1,
        "stop": ["\n\n", "КОНЕЦ"],
        "logit_bias": {"50256": -100},
        "safety_identifier": "somebody",
        "metadata": {"nested": [1, 2.50, None, {"deep": "ü"}]},
        "an_unknown_field": {"big": 123456789012345678901234567890, "text": "\u2028 \\u0041"},
        "max_tokens": 33,
    }
    received = await ask(client, "All of it", role="chat", stream=False, **body)

    arrived = await last_request(system, "plain")
    assert {name: value for name, value in arrived.items() if name not in GATEWAY_FIELDS} == {
        "messages": [{"role": "user", "content": "All of it"}],
        **body,
    }
    assert arrived["model"] == "plain"
    assert arrived["stream"] is False
    assert "stream_options" not in arrived
    assert len(received.response["choices"]) == 2
    assert without_identity(received.response) == without_identity(await direct_answer(system, arrived))


async def test_messages_of_all_kinds_arrive_unchanged(system: System, client: Client) -> None:
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city": "Bern"}'},
    }
    messages = [
        {"role": "system", "content": "Be brief.", "name": "rules"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Bern?", "cache_control": {"type": "ephemeral"}}],
        },
        {"role": "assistant", "content": None, "tool_calls": [call], "refusal": None},
        {"role": "tool", "tool_call_id": "call_1", "content": "12 °C"},
    ]
    await ask(client, messages, role="chat", tools=TOOLS)

    arrived = await last_request(system, "plain")
    assert arrived["messages"] == messages
    assert arrived["tools"] == TOOLS
    assert arrived["stream"] is True
    assert arrived["stream_options"] == {"include_usage": True}


async def test_tool_calls_are_returned_unchanged(system: System, client: Client) -> None:
    options = {"tools": TOOLS, "tool_choice": "required"}
    whole = await ask(client, "Weather in Bern", role="chat", stream=False, **options)
    streamed = await ask(client, "Weather in Bern", role="chat", **options)

    direct = await direct_answer(
        system, {**await last_request(system, "plain"), "stream": False, "stream_options": None}
    )
    assert without_identity(whole.response) == without_identity(direct)
    assert whole.completed.finish_reason == streamed.completed.finish_reason == "tool_calls"
    assert streamed.text == ""
    calls = [call for choice in streamed.choices for call in choice["delta"].get("tool_calls", ())]
    (expected,) = direct["choices"][0]["message"]["tool_calls"]
    assert calls[0]["id"] == expected["id"]
    assert calls[0]["function"]["name"] == "weather"
    assert "".join(call["function"]["arguments"] for call in calls) == expected["function"]["arguments"]


@pytest.mark.parametrize("stream", [True, False])
async def test_json_mode_passes_through(system: System, client: Client, *, stream: bool) -> None:
    schema = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}

    received = await ask(client, "As JSON", role="chat", stream=stream, response_format=wanted)

    assert (await last_request(system, "plain"))["response_format"] == wanted
    direct = await direct_answer(
        system, {**await last_request(system, "plain"), "stream": False, "stream_options": None}
    )
    assert received.text == direct["choices"][0]["message"]["content"]
    assert received.text.startswith("{")


async def test_reasoning_is_separate_from_the_text(system: System, client: Client) -> None:
    whole = await ask(client, "Think", role="reasoning", stream=False)
    streamed = await ask(client, "Think", role="reasoning")

    message = whole.response["choices"][0]["message"]
    assert message["reasoning"]
    thought = "".join(choice["delta"].get("reasoning") or "" for choice in streamed.choices)
    assert thought == message["reasoning"]
    assert streamed.text == message["content"]


@pytest.mark.parametrize("role", ["vision", "auto"])
async def test_images_reach_a_vision_model_unchanged(system: System, client: Client, role: str) -> None:
    image = {"type": "image_url", "image_url": {"url": PIXEL, "detail": "high"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}]

    received = await ask(client, messages, role=role)

    assert received.models == ["seeing"]
    assert (await last_request(system, "seeing"))["messages"] == messages


async def test_a4_a_role_adds_parameters_that_the_request_lacks(system: System, client: Client) -> None:
    await ask(client, "Silent", role="fast")
    silent = await last_request(system, "quick")
    await ask(client, "Outspoken", role="fast", temperature=1.5, top_p=0.1, max_tokens=50)
    outspoken = await last_request(system, "quick")

    assert (silent["temperature"], silent["top_p"], silent["max_tokens"]) == (0.2, 0.9, 1200)
    assert (outspoken["temperature"], outspoken["top_p"], outspoken["max_tokens"]) == (1.5, 0.1, 50)


async def test_a4_parameters_are_limited_to_the_ceiling(system: System, client: Client) -> None:
    await ask(client, "Wild", role="creative", temperature=1.9)
    assert (await last_request(system, "muse"))["temperature"] == 0.4
    await ask(client, "Tame", role="creative", temperature=0.1)
    assert (await last_request(system, "muse"))["temperature"] == 0.1
    await ask(client, "Silent", role="creative")
    arrived = await last_request(system, "muse")
    assert (arrived["temperature"], arrived["frequency_penalty"], arrived["presence_penalty"]) == (
        0.4,
        0.3,
        0.2,
    )
    await ask(client, "Endless", role="fast", max_tokens=100_000)
    assert (await last_request(system, "quick"))["max_tokens"] == 2000


async def test_gateway_fields_are_not_sent(system: System, client: Client) -> None:
    received = await ask(client, "Which?", role="chat", penstock={"trace": True}, penstock_note="x")

    assert received.completed.model == "plain"
    arrived = await last_request(system, "plain")
    assert arrived["model"] == "plain"
    assert not [name for name in arrived if name.startswith("penstock")]


async def test_usage_events_have_the_counts_of_the_provider(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    received = await ask(client, "Count [[tokens=17]]", role="chat")
    direct = await direct_answer(
        system, {**await last_request(system, "plain"), "stream": False, "stream_options": None}
    )

    assert received.completed.usage.input_tokens == direct["usage"]["prompt_tokens"]
    assert received.completed.usage.output_tokens == direct["usage"]["completion_tokens"] == 17
    assert received.completed.finish_reason == direct["choices"][0]["finish_reason"]
