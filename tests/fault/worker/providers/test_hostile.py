"""D2, D6, D10: providers that send too much, reject every call, redirect, or send impossible values."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator

import pytest
import yaml
from msgspec import Raw, Struct

from penstock.client.client import Client
from penstock.contract.events import UsageRecorded
from penstock.contract.reply import TERMINAL
from tests.fault.worker.providers.rows.wire import JSON, endlessly, gzip_bomb, scripted
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.providers.scripted_provider import (
    DONE,
    Script,
    ScriptedProvider,
    chunk,
    head,
    scripted_provider,
    whole,
)
from tests.harness.records.stored_events import stored_events
from tests.harness.requests.replies import RawPublisher, ask

MAX_ATTEMPTS = 4
MIB = 1024 * 1024

ROLE = {
    "timeouts": {"total_s": 10, "non_streaming_s": 5, "first_token_s": 3, "between_tokens_s": 2},
    "retry": {"initial_backoff_s": 0.02, "max_backoff_s": 0.1},
}
MODELS = ("actor", "zealous", "late", "neighbour", "deep")
CHAINS = {
    role: (model,)
    for role, model in zip(("chat", "fast", "logic", "creative", "coding"), MODELS, strict=True)
}


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedProvider]:
    with scripted_provider(*MODELS) as running:
        yield running


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, provider: ScriptedProvider) -> Iterator[System]:
    config = yaml.safe_load(catalogue(CHAINS, role=ROLE, breaker={"failure_threshold": 10_000}))
    config["providers"]["simulator"]["base_url"] = provider.url
    with shared_system(
        tmp_path_factory.mktemp("hostile"), ",".join(CHAINS), config=yaml.safe_dump(config)
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def no_calls(provider: ScriptedProvider) -> None:
    provider.asked.clear()


BEGINNING = b'{"choices":[{"message":{"content":"'


class Oversized(Struct, frozen=True):
    behaviour: Script
    stream: bool
    code: str
    message_has: str
    calls: int


OVERSIZED = {
    "tokens": Oversized(
        endlessly(head(), chunk("x" * 16_000)), True, "provider_refused", "the limit: lower max_tokens", 1
    ),
    "small tokens": Oversized(
        endlessly(head(), chunk("x" * 50) * 100), True, "provider_refused", "16,777,216 bytes", 1
    ),
    "one event": Oversized(
        endlessly(head() + b"data: ", b"x" * 65_536), True, "provider_refused", "4,194,304 bytes", 1
    ),
    "a body": Oversized(
        endlessly(head("200 OK", JSON) + BEGINNING, b"x" * 65_536),
        False,
        "provider_refused",
        "7,340,032 bytes, which is the limit: set stream, for which it is 16,777,216, or lower max_tokens",
        1,
    ),
    "a good body of 8 MiB": Oversized(
        lambda _: (head("200 OK", JSON), whole("y" * 8 * MIB)),
        False,
        "provider_refused",
        "7,340,032 bytes",
        1,
    ),
    "an error body": Oversized(
        endlessly(head("500 Oh", JSON), b"x" * 65_536), False, "provider_unavailable", "500", MAX_ATTEMPTS
    ),
    "a gzip bomb": Oversized(scripted(gzip_bomb()), False, "provider_refused", "7,340,032 bytes", 1),
    "a gzip bomb in a stream": Oversized(
        scripted(gzip_bomb(b"data: {")), True, "provider_refused", "4,194,304 bytes", 1
    ),
    "a gzip bomb as an error": Oversized(
        scripted(gzip_bomb().replace(b"200 OK", b"500 Oh")),
        False,
        "provider_unavailable",
        "500",
        MAX_ATTEMPTS,
    ),
}


@pytest.mark.parametrize("what", OVERSIZED)
async def test_d10_an_oversized_response_is_cut_off_and_not_repeated(
    system: System, provider: ScriptedProvider, client: Client, what: str
) -> None:
    case = OVERSIZED[what]
    provider.behaviours["actor"] = case.behaviour
    before_mb = system.workers[0].rss_mb()

    async with peak_of(system.workers[0].rss_mb) as peak_mb:
        received = await ask(client, what, role="chat", stream=case.stream)

    assert (received.code, received.took_s < 10) == (case.code, True)
    assert case.message_has in received.failed.error.message
    assert len(provider.asked) == case.calls
    assert provider.encodings == {"identity"}
    assert max(peak_mb) - before_mb < 120


class peak_of:  # noqa: N801 - reads as a function
    """Samples of `value` during the block."""

    def __init__(self, value: Callable[[], float]) -> None:
        self._value = value
        self._seen: list[float] = []

    async def __aenter__(self) -> list[float]:
        self._task = asyncio.create_task(self._watch())
        return self._seen

    async def __aexit__(self, *error: object) -> None:
        self._seen.append(self._value())
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            self._seen.append(self._value())
            await asyncio.sleep(0.01)


async def test_an_answer_of_the_maximum_size_arrives_complete(
    provider: ScriptedProvider, client: Client
) -> None:
    text = "y" * (7 * MIB - 1000)
    provider.behaviours["actor"] = lambda body: (
        (head(), chunk(text[: 3 * MIB]), chunk(text[3 * MIB : 6 * MIB]), chunk(text[6 * MIB :], "stop"), DONE)
        if body["stream"]
        else (head("200 OK", JSON), whole(text))
    )

    for stream in (True, False):
        assert (await ask(client, "The maximum", role="chat", stream=stream)).text == text


async def test_an_endless_answer_evicts_no_other_reply(
    system: System, provider: ScriptedProvider, client: Client, publisher: RawPublisher
) -> None:
    provider.behaviours["neighbour"] = scripted(head(), chunk("kept", "stop"), DONE)
    provider.behaviours["actor"] = endlessly(head(), chunk("x" * 16_000))
    neighbour = await ask(client, "Keep this", role="creative")

    await asyncio.gather(*(ask(client, f"Endless {n}", role="chat", timeout_s=60) for n in range(8)))

    kept = await publisher.stored(neighbour.id, client=client.name)
    assert [event for event in kept if isinstance(event, TERMINAL)] == [neighbour.end]


@pytest.mark.parametrize("status", ["301 Moved", "303 See Other", "307 Elsewhere", "308 Elsewhere"])
async def test_a_prompt_is_sent_to_the_configured_host_only(
    provider: ScriptedProvider, client: Client, status: str
) -> None:
    with scripted_provider() as thief:
        location = f"Location: {thief.url}/chat/completions"
        provider.behaviours["actor"] = scripted(head(status, JSON, location, "Content-Length: 0"))
        thief.behaviours["actor"] = scripted(head(), chunk("stolen", "stop"), DONE)

        received = await ask(client, "My secret", role="chat")

        assert thief.asked == []
    assert received.code == "provider_unavailable"
    assert f"{status[:3]}: a redirect, which is not followed" in received.failed.error.message
    assert len(provider.asked) == MAX_ATTEMPTS


@pytest.mark.parametrize(
    ("parts", "message_has"),
    [
        ((chunk("half an ans", ""), DONE), "finish_reason"),
        ((chunk("one", "stop"), chunk(" TWO"), DONE), "has content after its finish_reason"),
    ],
)
async def test_d6_a_stream_with_two_ends_or_none_is_an_error(
    provider: ScriptedProvider, client: Client, parts: tuple[bytes, ...], message_has: str
) -> None:
    provider.behaviours["actor"] = scripted(head(), *parts)

    received = await ask(client, "An end, please", role="chat")

    assert received.code == "provider_unavailable"
    assert message_has in received.failed.error.message


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": "none", "completion_tokens": -1},
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        {"prompt_tokens": 7},
        {"completion_tokens": 7},
        None,
        {"prompt_tokens": 2**63 - 1, "completion_tokens": 2**63 - 1},
        {"prompt_tokens": 10**40, "completion_tokens": 10**300},
        ["nonsense"],
    ],
)
async def test_f2_impossible_usage_is_estimated_and_the_answer_kept(
    system: System, provider: ScriptedProvider, client: Client, usage: object
) -> None:
    provider.behaviours["actor"] = scripted(
        head(), chunk("a good answer"), chunk(None, "stop", usage=usage), DONE
    )

    received = await ask(client, "How much?", role="chat")

    assert received.completed.finish_reason == "stop"
    assert received.text == "a good answer"
    [recorded] = [event for event in await stored_events(system, UsageRecorded) if event.id == received.id]
    assert recorded.estimated
    assert received.completed.estimated
    assert 0 < recorded.input_tokens < 1000
    assert 0 < recorded.output_tokens < 1000
    counts = received.completed.usage
    assert (counts.input_tokens, counts.output_tokens) == (recorded.input_tokens, recorded.output_tokens)


def event(delta: dict[str, object], finish_reason: str | None = None, **beside: object) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, **beside}
    return b"data: " + json.dumps({"id": "c", "model": "m", "choices": [choice]}).encode() + b"\n\n"


SAFE = {"hate": {"filtered": False, "severity": "safe"}}
UNUSUAL_STREAMS = {
    "azure": (
        b'data: {"choices":[],"prompt_filter_results":[]}\n\n',
        event({"content": "Hel"}, content_filter_results={}),
        event({"content": "lo"}, content_filter_results=SAFE),
        event({}, "stop", content_filter_results=SAFE),
        DONE,
    ),
    "openrouter": (
        b": OPENROUTER PROCESSING\n\n",
        event({"role": "assistant", "content": "Hel", "reasoning_details": []}, native_finish_reason=None),
        event({"role": "assistant", "content": "lo"}, "stop", native_finish_reason="STOP"),
        b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}\n\ndata: [DONE] ',
    ),
    "mistral": (
        event({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}),
        event({"content": [{"type": "text", "text": "Hello"}]}),
        event({"content": ""}, "stop"),
        DONE,
    ),
    "reasoning and text at once": (event({"reasoning": "hm", "content": "Hello"}, "stop"), DONE),
    "empty chunks between": (
        event({"content": "Hel"}),
        b'data: null\n\ndata\n\ndata: {"choices":null}\n\ndata: {}\n\n',
        event({"content": "lo"}, "stop"),
    ),
    "half a character": (
        event({"content": "Hello\ud83d"}).replace(b"Hello", b"Hello "),
        event({"content": "\ude00"}, "stop"),
        DONE,
    ),
    "one JSON body": (whole("Hello"),),
}


@pytest.mark.parametrize("provider_kind", UNUSUAL_STREAMS)
async def test_e1_a_stream_in_a_provider_specific_form_is_read(
    provider: ScriptedProvider, client: Client, provider_kind: str
) -> None:
    provider.behaviours["actor"] = scripted(head(), *UNUSUAL_STREAMS[provider_kind])

    received = await ask(client, f"As {provider_kind}", role="chat")

    assert received.completed.finish_reason == "stop"
    assert received.text == ("Hello \U0001f600" if provider_kind == "half a character" else "Hello")
    assert len(provider.asked) == 1
    thought = [choice["delta"] for choice in received.choices if "hm" in str(choice["delta"])]
    assert bool(thought) == (provider_kind in {"mistral", "reasoning and text at once"})


@pytest.mark.parametrize("stream", [True, False])
async def test_f2_usage_in_another_form_is_read_and_billed(
    system: System, provider: ScriptedProvider, client: Client, *, stream: bool
) -> None:
    usage = {"prompt_tokens": "5", "completion_tokens": 7.0, "total_tokens": 40}
    completion = json.loads(whole("a good answer")) | {"usage": usage}
    provider.behaviours["actor"] = lambda _: (
        (head(), chunk("a good answer"), chunk(None, "stop", usage=usage), DONE)
        if stream
        else (head("200 OK", JSON), json.dumps(completion).encode())
    )

    received = await ask(client, "How much?", role="chat", stream=stream)

    counts = received.completed.usage
    assert (counts.input_tokens, counts.output_tokens, counts.reasoning_tokens) == (5, 35, 28)
    assert not received.completed.estimated
    [recorded] = [event for event in await stored_events(system, UsageRecorded) if event.id == received.id]
    assert (recorded.estimated, recorded.output_tokens) == (False, 35)
    assert recorded.cost_microusd == received.completed.cost_microusd


@pytest.mark.parametrize(
    ("model", "role", "retry_after"),
    [("zealous", "fast", "Retry-After: 0"), ("late", "logic", "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT")],
)
async def test_c4_retry_after_0_does_not_cause_a_retry_storm(
    provider: ScriptedProvider, client: Client, model: str, role: str, retry_after: str
) -> None:
    provider.behaviours[model] = scripted(head("429 Too Many", JSON, retry_after, "Content-Length: 2"), b"{}")

    received = await asyncio.gather(
        *(ask(client, f"Impatience {n}", role=role, timeout_s=2.5) for n in range(8))
    )

    assert {each.code for each in received} == {"deadline_exceeded"}
    assert 5 <= len(provider.asked) <= 8 * 5  # at 0, 0.1, 0.3, 0.7 and 1.5 s


@pytest.mark.parametrize("stream", [True, False])
async def test_d10_invalid_headers_are_reported_on_one_line(
    provider: ScriptedProvider, client: Client, *, stream: bool
) -> None:
    provider.behaviours["actor"] = scripted(head("200 OK", JSON, "X-Long: " + "b" * 200_000))

    received = await ask(client, "Headers", role="chat", stream=stream)

    message = received.failed.error.message
    assert "the connection broke: Got more than" in message
    assert "\n" not in message
    assert len(message) < 700


async def test_a_completion_with_content_parts_passes_unchanged(
    provider: ScriptedProvider, client: Client
) -> None:
    parts = [{"type": "text", "text": "in "}, {"type": "image_url"}, {"type": "text", "text": "parts"}]
    provider.behaviours["actor"] = scripted(head("200 OK", JSON), whole(parts))

    reply = await client.chat("In parts", role="chat")

    assert reply.text == "in parts"
    assert reply.response is not None
    assert reply.response["choices"][0]["message"]["content"] == parts


async def test_nesting_at_the_limit_is_answered_or_rejected_at_once(
    provider: ScriptedProvider, client: Client
) -> None:
    """The router has more stack left than the worker, which cannot read every request that was admitted."""
    provider.behaviours["deep"] = scripted(head(), chunk("deep", "stop"), DONE)
    depths = range(960, 1000)
    began_s = time.monotonic()

    received = await asyncio.gather(
        *(ask(client, "Hi", role="coding", z=Raw(b"[" * depth + b"]" * depth)) for depth in depths)
    )

    codes = [each.code for each in received]
    assert set(codes) == {None, "invalid_request"}
    assert (codes[0], codes[-1]) == (None, "invalid_request")
    assert time.monotonic() - began_s < 10
    assert len(provider.asked) == codes.count(None)
