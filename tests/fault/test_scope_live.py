"""D11 over the real system: what one request is refused for leaves the others alone, and a spent budget its model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import yaml

from penstock.client.client import Client
from penstock.contract.events import (
    BreakerChanged,
    CredentialAvailabilityChanged,
    ModelAvailabilityChanged,
    QuotaPaused,
)
from tests.harness.catalogues import catalogue
from tests.harness.replies import ask
from tests.harness.scripted_provider import DONE, ScriptedProvider, chunk, head, scripted_provider, whole
from tests.harness.stored_events import stored_events
from tests.harness.system import System, shared_system

JSON = "application/json"
ODD = "the odd one"
CHAINS = {"chat": ("first", "second"), "logic": ("alone",), "fast": ("paid",)}
MODELS = {"second": {"context_tokens": 200_000}}
ROLE = {
    "timeouts": {"total_s": 10, "whole_s": 5, "first_token_s": 3, "between_tokens_s": 2},
    "retry": {"base_s": 0.02, "cap_s": 0.1},
}
TPM = "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 61337."
NO_TOOLS = "No endpoints found that support tool use."
TOO_LONG = "The input token count (218152) exceeds the maximum number of tokens allowed (131072)."
SPENT = {
    "message": "You exceeded your current quota.",
    "type": "insufficient_quota",
    "code": "insufficient_quota",
}


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedProvider]:
    with scripted_provider("first", "second", "alone", "paid") as running:
        yield running


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, provider: ScriptedProvider) -> Iterator[System]:
    config = yaml.safe_load(catalogue(CHAINS, models=MODELS, role=ROLE))
    config["providers"]["simulator"] |= {"base_url": provider.url, "api_key_env": ["A_KEY", "B_KEY"]}
    env = {"A_KEY": "sk-one-of-two-0001", "B_KEY": "sk-two-of-two-0002"}
    directory = tmp_path_factory.mktemp("scope")
    with shared_system(directory, ",".join(CHAINS), config=yaml.safe_dump(config), env=env) as running:
        yield running


@pytest.fixture(autouse=True)
def nobody_asked_yet(provider: ScriptedProvider) -> None:
    provider.asked.clear()
    provider.behaviours = dict.fromkeys(("first", "second", "alone", "paid"), _good)


def _good(body: dict[str, Any]) -> Iterable[bytes]:
    if body.get("stream"):
        return (head(), chunk("well"), chunk(finish_reason="stop"), DONE)
    return (head(content_type=JSON), whole("well"))


def _refusing(status: str, value: Any) -> Any:
    """Requests that speak of `ODD`; the others are answered."""

    def behave(body: dict[str, Any]) -> Iterable[bytes]:
        if ODD in json.dumps(body):
            return (head(status, JSON), json.dumps(value).encode())
        return _good(body)

    return behave


CASES = [
    ("429 Too Many Requests", {"error": {"message": TPM, "code": "rate_limit_exceeded"}}, "request_too_large"),
    ("404 Not Found", {"error": {"message": NO_TOOLS, "code": 404}}, "provider_refused"),
    ("404 Not Found", {"detail": "Not Found"}, "provider_refused"),
    ("403 Forbidden", {"error": {"message": "flagged", "metadata": {"reasons": ["hate"]}}}, "content_filtered"),
    ("403 Forbidden", {"error": "Forbidden"}, "provider_refused"),
    ("422 Unprocessable Entity", {"error": {"message": "no such thing"}}, "provider_refused"),
    ("400 Bad Request", [{"error": {"code": 400, "message": TOO_LONG}}], "context_length_exceeded"),
    ("500 Internal", {"error": {"message": "x", "type": "exceed_context_size_error"}}, "context_length_exceeded"),
]  # fmt: skip


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("status", "value", "code"), CASES)
async def test_d11_a_refusal_of_one_request_is_told_after_one_call_and_hurts_nobody(
    system: System,
    client: Client,
    provider: ScriptedProvider,
    status: str,
    value: Any,
    code: str,
    *,
    stream: bool,
) -> None:
    provider.behaviours["alone"] = _refusing(status, value)

    odd, *others = await asyncio.gather(
        ask(client, f"{ODD}: {status}", role="logic", stream=stream),
        *(ask(client, f"Question {n}", role="logic", stream=stream) for n in range(8)),
    )

    assert odd.code == code
    said = odd.failed.error.provider_message
    assert said is not None
    assert said in odd.failed.error.message
    assert len(odd.models) == 1
    assert {other.code for other in others} == {None}
    assert max(other.took_s for other in others) < 3
    assert len(provider.asked) == 9
    for kind in (QuotaPaused, ModelAvailabilityChanged, BreakerChanged, CredentialAvailabilityChanged):
        assert not [event for event in await stored_events(system, kind) if event.model == "alone"]


async def test_d11_what_one_model_refuses_another_of_the_chain_answers(
    client: Client, provider: ScriptedProvider
) -> None:
    for status, value, code in CASES:
        provider.behaviours["first"] = _refusing(status, value)
        received = await ask(client, f"{ODD}: {value}", role="chat")
        assert received.code == (code if code == "content_filtered" else None), value
        if received.code is None:
            assert received.models == ["first", "second"]


async def test_a6_a_spent_budget_is_told_at_once_and_the_other_key_answers(
    system: System, client: Client, provider: ScriptedProvider
) -> None:
    left = [SPENT]

    def spent_once(body: dict[str, Any]) -> Iterable[bytes]:
        if left:
            return (head("429 Too Many Requests", JSON), json.dumps({"error": left.pop()}).encode())
        return _good(body)

    provider.behaviours["paid"] = spent_once

    received = [await ask(client, f"Question {n}", role="fast") for n in range(4)]

    assert {each.code for each in received} == {None}
    assert len(provider.asked) == 5
    told = await stored_events(system, CredentialAvailabilityChanged)
    (credential,) = {event.credential for event in told}
    assert {event.model for event in told} >= {"paid", "first", "second", "alone"}
    assert all(event.why.startswith("the budget is spent: 429: You exceeded") for event in told)
    assert f'penstock_credential_budget_spent{{credential="{credential}"}} 1.0' in await system.metrics()
    assert f"the budget behind the credential {credential} is spent" in system.workers[0].log.read_text()
