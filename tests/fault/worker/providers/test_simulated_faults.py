"""D2, D4, D6, D10: every fault of the simulator, streamed and whole, as an application sees it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterator

import pytest
from msgspec import Struct

from penstock.client.client import Client
from penstock.contract.errors import ERRORS, ErrorCode
from penstock.contract.events import ModelAvailabilityChanged
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.records.stored_events import stored_events
from tests.harness.requests.replies import ReceivedReply, ask, simulator_answer
from tests.harness.suite.waiting import until

MAX_ATTEMPTS = 4
ROLE = {
    "retry": {"initial_backoff_s": 0.02, "max_backoff_s": 0.1, "same_model_retries": 0},
    "max_model_wait_s": 0.2,
}
SHORT_TIMEOUTS = {
    "timeouts": {"total_s": 15, "non_streaming_s": 0.8, "first_token_s": 0.7, "between_tokens_s": 0.6}
}
"""For roles whose models stop sending."""
CHAINS = {
    "chat": ("actor", "stand-in"),
    "logic": ("solo",),
    "coding": ("short", "as-short", "longer"),
    "fast": ("gone--withdrawn", "stayed"),
    "creative": ("leaving", "staying"),
    "reasoning": ("lost--withdrawn",),
    "long_context": ("busy",),
    "safety": ("moody", "steady"),
    "vision": ("mute",),
}
MODELS = {
    "stand-in": {"context_tokens": 200_000},
    "short": {"context_tokens": 8_192},
    "as-short": {"context_tokens": 8_192},
    "longer": {"context_tokens": 128_000},
}


class Broken(Struct, frozen=True):
    """A behaviour, and the result of a request whose only model has it."""

    behaviour: str
    code: ErrorCode
    message_has: str
    """A text in the message of `failed` (D10)."""
    attempts: int = MAX_ATTEMPTS
    text_first: bool = False
    """Its stream begins with valid text."""
    elsewhere: bool = True
    """Another model is called; False: the error concerns the request itself."""

    def __str__(self) -> str:
        return self.behaviour


BROKEN = (
    Broken("slow=5", "provider_unavailable", "within 0."),
    Broken("500", "provider_unavailable", "500: The server had an error"),
    Broken("503", "provider_unavailable", "503: The engine is currently overloaded"),
    Broken("flaky=1", "provider_unavailable", "503"),
    Broken("reset", "provider_unavailable", "the connection broke"),
    Broken("silent", "provider_unavailable", "within 0."),
    Broken("slow-first-token=5", "provider_unavailable", "within 0."),
    Broken("cut=5", "provider_unavailable", "the connection broke", text_first=True),
    Broken("stall=5", "provider_unavailable", "within 0.", text_first=True),
    Broken("malformed=5", "provider_unavailable", "not", text_first=True),
    Broken("error-event=5", "provider_unavailable", "The server had an error", text_first=True),
    Broken("no-finish", "provider_unavailable", "finish", text_first=True),
    Broken("html", "provider_unavailable", "4 attempts failed"),
    Broken("empty", "provider_unavailable", "choice"),
    Broken("unauthorized", "provider_credentials", "Incorrect API key", attempts=1),
    Broken("forbidden", "provider_credentials", "no access", attempts=1),
    Broken("too-large", "request_too_large", "Request too large", attempts=1),
    Broken("context-length", "context_length_exceeded", "maximum context length", attempts=1),
    Broken("bad-request", "provider_refused", "unsupported value", attempts=1),
    Broken("content-filter", "content_filtered", "content management policy", attempts=1, elsewhere=False),
)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    roles = dict.fromkeys(("chat", "logic", "vision"), SHORT_TIMEOUTS)
    config = catalogue(CHAINS, models=MODELS, role=ROLE, roles=roles, breaker={"failure_threshold": 10_000})
    with shared_system(tmp_path_factory.mktemp("providers"), config=config) as running:
        yield running


@pytest.fixture(autouse=True)
async def healthy_again(system: System) -> AsyncIterator[None]:
    """Start each test with healthy models and zero counts, and reset all behaviours after it."""
    await system.sim("POST", "reset")
    yield
    names = [name for chain in CHAINS.values() for name in chain if "--" not in name]
    await system.sim("PUT", "behaviour", dict.fromkeys(names, ""))


LIKE_SILENT = ("slow=5", "slow-first-token=5")
"""Behaviours with which each attempt ends as with `silent`, by the same timeout."""


def cases(*, long: Collection[str] = ()) -> list[object]:
    """The behaviours in `long` are left to `make prove`."""
    return [
        pytest.param(
            broken,
            stream,
            id=f"{broken}-{'streamed' if stream else 'whole'}",
            marks=[pytest.mark.prove] if broken.behaviour in long else [],
        )
        for broken in BROKEN
        for stream in (True, False)
    ]


@pytest.mark.parametrize(("broken", "stream"), cases())
async def test_d4_d6_another_model_answers_for_a_broken_one(
    system: System, client: Client, broken: Broken, *, stream: bool
) -> None:
    prompt = f"What is a penstock, and why {broken}?"
    await system.sim("PUT", "behaviour", {"actor": broken.behaviour})

    received = await ask(client, prompt, role="chat", stream=stream)

    assert await system.attempts("actor") == 1
    if not broken.elsewhere:
        assert received.code == broken.code
        assert await system.attempts("stand-in") == 0
        return
    assert received.completed.model == "stand-in"
    assert received.models == ["actor", "stand-in"]
    assert received.text == await simulator_answer(system, "stand-in", prompt)
    assert received.took_s < SHORT_TIMEOUTS["timeouts"]["total_s"] / 2, "it does not wait for the deadline"
    restarted = [restart.code for restart in received.restarts]
    assert restarted == ([broken.code] if broken.text_first and stream else [])


@pytest.mark.parametrize(("broken", "stream"), cases(long=LIKE_SILENT))
async def test_d2_d6_d10_a_broken_only_model_ends_in_a_clear_error(
    system: System, client: Client, broken: Broken, *, stream: bool
) -> None:
    await system.sim("PUT", "behaviour", {"solo": broken.behaviour})

    received = await ask(client, f"Alone with {broken}", role="logic", stream=stream)

    assert received.code == broken.code
    assert broken.message_has in received.failed.error.message
    assert "solo" in received.failed.error.message
    assert received.failed.error.retry == ERRORS[broken.code].retry
    assert await system.attempts("solo") == broken.attempts
    assert len(received.models) == broken.attempts
    provider_message = received.failed.error.provider_message
    assert provider_message is None or provider_message in received.failed.error.message
    assert provider_message is not None or broken.behaviour not in {
        "500",
        "503",
        "forbidden",
        "too-large",
        "bad-request",
    }
    if broken.text_first and stream:
        assert len(received.restarts) == broken.attempts - 1


async def test_d6_a_stream_without_done_is_complete_if_all_choices_are(
    system: System, client: Client
) -> None:
    await system.sim("PUT", "behaviour", {"actor": "no-done"})

    received = await ask(client, "Complete without DONE", role="chat")

    assert (received.completed.model, received.completed.finish_reason) == ("actor", "stop")
    assert received.text == await simulator_answer(system, "actor", "Complete without DONE")
    assert await system.attempts("actor") == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_d2_a_too_long_prompt_is_not_sent_to_as_short_a_context(
    system: System, client: Client, *, stream: bool
) -> None:
    await system.sim("PUT", "behaviour", {"short": "context-length", "as-short": "context-length"})

    received = await ask(client, "A long story", role="coding", stream=stream)

    assert received.completed.model == "longer"
    assert await system.attempts("short") == 1
    assert await system.attempts("as-short") == 0


async def test_d2_a_prompt_too_long_for_all_is_tried_once_per_context(system: System, client: Client) -> None:
    await system.sim("PUT", "behaviour", dict.fromkeys(CHAINS["coding"], "context-length"))

    received = await ask(client, "A longer story", role="coding")

    assert received.code == "context_length_exceeded"
    assert received.failed.error.retry == "elsewhere"
    assert received.models == ["short", "longer"]


@pytest.mark.parametrize("stream", [True, False])
async def test_c4_d2_a_429_is_retried_after_the_stated_wait(
    system: System, client: Client, *, stream: bool
) -> None:
    await system.sim("PUT", "behaviour", {"busy": "429=1.5"})
    asked = asyncio.create_task(ask(client, "Patience", role="long_context", stream=stream))
    await until(lambda: _attempted(system, "busy"))
    await system.sim("PUT", "behaviour", {"busy": ""})

    received = await asked

    assert received.completed.model == "busy"
    assert 1.5 <= received.took_s < 15, "sooner than its deadline"
    assert await system.attempts("busy") == 2


async def test_c4_one_429_pauses_the_model_for_every_request(system: System, client: Client) -> None:
    """No retry storm: thirty requests wait until the pause after one 429 is over."""
    await system.sim("PUT", "behaviour", {"busy": "429=2"})
    await ask(client, "The first one meets it", role="long_context", timeout_s=0.3)
    await system.sim("PUT", "behaviour", {"busy": ""})

    received = await asyncio.gather(*(ask(client, f"Other {n}", role="long_context") for n in range(30)))

    assert {each.completed.model for each in received} == {"busy"}
    calls = [call for call in (await system.sim("GET", "counts"))["requests"] if call["model"] == "busy"]
    rejected_s = [call["at_s"] for call in calls if call["status"] == 429]
    answered_s = [call["at_s"] for call in calls if call["status"] == 200]
    assert (len(rejected_s), len(answered_s)) == (1, 30)
    assert min(answered_s) >= rejected_s[0] + 2


async def test_d5_a_429_switches_to_the_next_model_at_once(system: System, client: Client) -> None:
    await system.sim("PUT", "behaviour", {"moody": "429=4"})

    received = [await ask(client, "Switch", role="safety")]
    received += await asyncio.gather(*(ask(client, f"Switch {n}", role="safety") for n in range(4)))

    assert {each.completed.model for each in received} == {"steady"}
    assert max(each.took_s for each in received) < 4, "sooner than the pause of the first model ends"
    assert await system.attempts("moody") == 1


async def test_c3_a_429_beyond_the_deadline_ends_with_retry_after(system: System, client: Client) -> None:
    await system.sim("PUT", "behaviour", {"busy": "429=4"})
    received = await ask(client, "Never mind", role="long_context", timeout_s=0.7)
    while received.code == "overloaded":  # an earlier test's burst counts until the next heartbeats
        assert 0 < (received.failed.error.retry_after_s or 0) <= 4
        await asyncio.sleep(received.failed.error.retry_after_s or 0)
        received = await ask(client, "Never mind", role="long_context", timeout_s=0.7)
    began_s = time.monotonic() - received.took_s

    assert received.code == "deadline_exceeded"
    assert "quota of busy" in received.failed.error.message
    assert 0 < (received.failed.error.retry_after_s or 0) <= 4
    assert received.took_s < 4, "it did not wait for the provider's pause"
    assert await system.attempts("busy") == 1
    await asyncio.sleep(max(0.0, began_s + 4.1 - time.monotonic()))


async def test_d2_a_429_without_a_wait_is_retried_with_backoff(system: System, client: Client) -> None:
    await system.sim("PUT", "behaviour", {"mute": "429-bare"})

    received = await ask(client, "How long?", role="vision", timeout_s=2.5)

    assert received.code == "deadline_exceeded"
    assert await system.attempts("mute") == 2  # at 0 and 1 s; the next would be at 3
    assert 0 < (received.failed.error.retry_after_s or 0) <= 2


async def test_d4_another_model_answers_for_a_flapping_or_flaky_one(system: System, client: Client) -> None:
    await system.sim("PUT", "behaviour", {"moody": "flapping=0.2"})
    flapping: list[ReceivedReply] = []

    async def both_answered() -> bool:
        flapping.append(await ask(client, f"Flap {len(flapping)}", role="safety"))
        return len(flapping) >= 12 and {each.completed.model for each in flapping} == {"moody", "steady"}

    await until(both_answered, every_s=0.05)
    await system.sim("PUT", "behaviour", {"moody": "flaky=0.5"})
    flaky = [await ask(client, f"Flake {n}", role="safety", stream=False) for n in range(10)]

    assert [each.completed.model for each in flaky] == ["moody", "steady"] * 5


async def test_d2_a_flaky_only_model_is_retried(system: System, client: Client) -> None:
    await system.sim("PUT", "behaviour", {"solo": "flaky=0.3"})

    received = [await ask(client, f"Again {n}", role="logic") for n in range(10)]

    assert {each.completed.model for each in received} == {"solo"}
    assert max(len(each.models) for each in received) == 2


@pytest.mark.parametrize("behaviour", ["slow=5", "silent", "slow-first-token=5"])
async def test_d1_another_model_answers_after_the_limit_on_the_first_token(
    system: System, client: Client, behaviour: str
) -> None:
    await system.sim("PUT", "behaviour", {"actor": behaviour})

    received = await ask(client, "Quick, please", role="chat")

    assert received.completed.model == "stand-in"
    assert 0.7 <= received.took_s < 5, "sooner than the slow model would have answered"


async def test_a5_a_model_withdrawn_before_the_start_is_called_once(system: System, client: Client) -> None:
    received = [await ask(client, f"Who is left {n}?", role="fast") for n in range(2)]

    assert [each.models for each in received] == [["gone--withdrawn", "stayed"], ["stayed"]]
    assert await system.attempts("gone--withdrawn") == 1

    async def reported() -> bool:
        changes = {event.model: event for event in await stored_events(system, ModelAvailabilityChanged)}
        change = changes.get("gone--withdrawn")
        return change is not None and not change.served and change.roles == ("fast",)

    await until(reported)


async def test_a5_a_model_withdrawn_at_run_time_is_called_once(system: System, client: Client) -> None:
    await system.sim("PUT", "behaviour", {"leaving": "withdrawn"})

    received = [await ask(client, f"Still there {n}?", role="creative") for n in range(3)]

    assert [each.models for each in received] == [["leaving", "staying"], ["staying"], ["staying"]]
    assert await system.attempts("leaving") == 1

    async def reported() -> bool:
        return any(
            event.model == "leaving" and not event.served
            for event in await stored_events(system, ModelAvailabilityChanged)
        )

    await until(reported)


async def test_a5_a_role_without_an_available_model_fails_at_once(system: System, client: Client) -> None:
    received = [await ask(client, f"Anybody {n}?", role="reasoning") for n in range(2)]

    assert [each.code for each in received] == ["provider_unavailable"] * 2
    assert "404" in received[0].failed.error.message
    assert "no longer serves lost--withdrawn" in received[1].failed.error.message
    assert all(each.took_s < 1 for each in received)
    assert await system.attempts("lost--withdrawn") == 1


async def _attempted(system: System, model: str) -> bool:
    return await system.attempts(model) > 0
