"""D11: a refusal changes shared state only within its scope: request, model, credential.

Breakers open after two failures in a row here, and each row sends its request several times with different content, so
that a wrong scope shows in the request after them.
"""

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
from tests.fault.worker.providers.rows.table import (
    STREAMED,
    WHOLE,
    Both,
    Outcome,
    Row,
    Table,
    check,
    row_ids,
)
from tests.fault.worker.providers.rows.wire import Answer, delta, error, sized, stream
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.providers.scripted_provider import (
    DONE,
    ScriptedProvider,
    chunk,
    head,
    scripted_provider,
    whole,
)
from tests.harness.records.stored_events import stored_events
from tests.harness.requests.replies import ask


def api_error(message: str, **more: object) -> dict[str, object]:
    return {"error": {"message": message, **more}}


def of_request(name: str, answer: Answer | Both, times: int = 4, **more: object) -> Row:
    """A refusal that concerns only the request: the next model answers, and the first one stays available."""
    held = {"text": "from second", "model": "second", "calls": {"first": 1, "second": 1}, **more}
    return Row(name=name, script={"first": [answer]}, times=times, **held)


LONGER_MODEL = {"text": "from long", "model": "long", "calls": {"first": 1, "long": 1}}
REFUSED = {"code": "content_filtered", "text": None, "model": "first", "calls": {"first": 1}}
LARGE = "Request too large for m on tokens per min (TPM): Limit 30000, Requested 61337."

OF_THE_REQUEST = (
    of_request(
        "too long",
        error(400, api_error("prompt is too long: 9 tokens > 8 maximum", type="invalid_request_error")),
        **LONGER_MODEL,
    ),
    of_request(
        "too long, as a 500",
        error(
            500,
            api_error(
                "the request exceeds the available context size, try increasing it",
                code=500,
                type="exceed_context_size_error",
            ),
        ),
        **LONGER_MODEL,
    ),
    of_request(
        "too long, in a stream",
        Both(
            stream(
                {
                    "error": {
                        "code": 400,
                        "message": "The input token count (9) exceeds the "
                        "maximum number of tokens allowed (8).",
                    }
                },
                done=False,
            ),
            sized(
                json.dumps(
                    [
                        {
                            "error": {
                                "code": 400,
                                "message": "The input token count (9) exceeds the maximum number of tokens.",
                            }
                        }
                    ]
                ).encode()
            ),
        ),
        **LONGER_MODEL,
    ),
    of_request("too large as 429", error(429, api_error(LARGE, code="rate_limit_exceeded", type="tokens"))),
    of_request(
        "too large with a wait", error(429, api_error(LARGE, code="rate_limit_exceeded"), "retry-after: 32")
    ),
    of_request(
        "filtered as 403",
        error(
            403,
            api_error(
                "Your input was flagged by moderation",
                code=403,
                metadata={"reasons": ["violence"], "flagged_input": "x"},
            ),
        ),
        **REFUSED,
    ),
    of_request("filtered", error(400, api_error("filtered", code="content_filter")), **REFUSED),
    of_request(
        "invalid", error(400, api_error("messages: roles must alternate", type="invalid_request_error"))
    ),
    of_request(
        "422",
        error(422, {"detail": [{"loc": ["body", "messages"], "msg": "Field required", "type": "missing"}]}),
    ),
    of_request("499", error(499, api_error("Client closed request"))),
    of_request(
        "no tool use", error(404, api_error("No endpoints found that support tool use.", code=404)), times=2
    ),
    of_request("a 404 without a cause", error(404, ""), times=2),
    of_request("a 404 of a web framework", error(404, {"detail": "Not Found"}), times=2),
    of_request("a 403 with one word", error(403, {"error": "Forbidden"}), times=2),
    of_request("a 422 without a parameter", error(422, api_error("no such thing"))),
    of_request("a 403 without a cause", error(403, ""), times=2),
    of_request(
        "no function calling",
        error(
            404, api_error("Function calling is not enabled for models/gemma-3", code=404, status="NOT_FOUND")
        ),
        times=2,
    ),
    # A request that causes a server error each time it is retried.
    Row(
        name="one request and its 500",
        modes=WHOLE,
        script={"first": [error(500, api_error("template error"))]},
        times=1,
        text="from second",
        model="second",
        calls={"first": 2, "second": 1},
    ),
)

OF_THE_MODEL = (
    Row(
        name="model not found",
        modes=STREAMED,
        script={
            "first": [
                error(
                    404,
                    api_error(
                        "The model `first` does not exist or you do not have access to it.",
                        code="model_not_found",
                        type="invalid_request_error",
                    ),
                )
            ]
        },
        text="from second",
        model="second",
        calls={"first": 1, "second": 1},
        quiet=False,
        neighbour="second",
    ),
    Row(
        name="decommissioned",
        modes=WHOLE,
        script={
            "first": [
                error(
                    400,
                    api_error(
                        "The model `first` has been decommissioned and is no longer supported.",
                        code="model_decommissioned",
                    ),
                )
            ]
        },
        text="from second",
        model="second",
        calls={"first": 1, "second": 1},
        quiet=False,
        neighbour="second",
    ),
    Row(
        name="500 to all",
        modes=STREAMED,
        script={"first": [error(500, api_error("internal error"))]},
        times=4,
        text="from second",
        model="second",
        calls={"first": (0, 2), "second": 1},
        quiet=False,
        neighbour="second",
    ),
    Row(
        name="cut for all",
        modes=STREAMED,
        script={"first": [stream(delta("Hel"), done=False)]},
        times=3,
        text="from second",
        model="second",
        calls={"first": (0, 1), "second": 1},
        restarts=None,
        quiet=False,
        neighbour="second",
    ),
)

ROWS = (*OF_THE_REQUEST, *OF_THE_MODEL)
TABLE = Table(rows=ROWS, keys=1, sections={"breaker": {"failure_threshold": 2, "open_s": 60}})


@pytest.mark.parametrize("name", row_ids(TABLE))
def test_d11_a_refusal_changes_only_state_in_its_scope(outcomes: dict[str, Outcome], name: str) -> None:
    check(outcomes[name])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("model not found | streamed", ModelAvailabilityChanged),
        ("decommissioned | whole", ModelAvailabilityChanged),
        ("500 to all | streamed", BreakerChanged),
        ("cut for all | streamed", BreakerChanged),
    ],
)
def test_d11_a_failure_of_the_model_withdraws_it_or_opens_its_breaker(
    outcomes: dict[str, Outcome], name: str, kind: type[object]
) -> None:
    events = outcomes[name].events

    assert {type(event) for event in events} == {kind}


# One model without a fallback, with concurrent requests.

JSON = "application/json"
MARKED = "the refused request"
CHAINS = {"logic": ("alone",), "fast": ("paid",), "chat": ("first",)}
ROLE = {
    "timeouts": {"total_s": 10, "non_streaming_s": 5, "first_token_s": 3, "between_tokens_s": 2},
    "retry": {"initial_backoff_s": 0.02, "max_backoff_s": 0.1},
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
    with scripted_provider("alone", "paid", "first") as running:
        yield running


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, provider: ScriptedProvider) -> Iterator[System]:
    config = yaml.safe_load(catalogue(CHAINS, role=ROLE))
    config["providers"]["simulator"] |= {"base_url": provider.url, "api_key_env": ["A_KEY", "B_KEY"]}
    env = {"A_KEY": "sk-one-of-two-0001", "B_KEY": "sk-two-of-two-0002"}
    directory = tmp_path_factory.mktemp("one_model")
    with shared_system(directory, ",".join(CHAINS), config=yaml.safe_dump(config), env=env) as running:
        yield running


@pytest.fixture
def no_calls_yet(provider: ScriptedProvider) -> None:
    provider.asked.clear()
    provider.behaviours = dict.fromkeys(("alone", "paid", "first"), _good)


def _good(body: dict[str, Any]) -> Iterable[bytes]:
    if body.get("stream"):
        return (head(), chunk("well"), chunk(finish_reason="stop"), DONE)
    return (head(content_type=JSON), whole("well"))


def _refusing(status: str, value: Any) -> Any:
    """A behaviour that refuses requests whose text contains `MARKED`."""

    def behave(body: dict[str, Any]) -> Iterable[bytes]:
        if MARKED in json.dumps(body):
            return (head(status, JSON), json.dumps(value).encode())
        return _good(body)

    return behave


REFUSALS = [
    ("429 Too Many Requests", {"error": {"message": TPM, "code": "rate_limit_exceeded"}}, "request_too_large"),
    ("404 Not Found", {"error": {"message": NO_TOOLS, "code": 404}}, "provider_refused"),
    ("404 Not Found", {"detail": "Not Found"}, "provider_refused"),
    ("403 Forbidden", {"error": {"message": "flagged", "metadata": {"reasons": ["hate"]}}}, "content_filtered"),
    ("403 Forbidden", {"error": "Forbidden"}, "provider_refused"),
    ("422 Unprocessable Entity", {"error": {"message": "no such thing"}}, "provider_refused"),
    ("400 Bad Request", [{"error": {"code": 400, "message": TOO_LONG}}], "context_length_exceeded"),
    ("500 Internal", {"error": {"message": "x", "type": "exceed_context_size_error"}}, "context_length_exceeded"),
]  # fmt: skip


@pytest.mark.usefixtures("no_calls_yet")
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("status", "value", "code"), REFUSALS)
async def test_d11_a_refused_request_ends_after_one_call_and_affects_no_other(
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

    refused, *others = await asyncio.gather(
        ask(client, f"{MARKED}: {status}", role="logic", stream=stream),
        *(ask(client, f"Question {n}", role="logic", stream=stream) for n in range(8)),
    )

    assert refused.code == code
    message = refused.failed.error.provider_message
    assert message is not None
    assert message in refused.failed.error.message
    assert len(refused.models) == 1
    assert {other.code for other in others} == {None}
    assert max(other.took_s for other in others) < 3
    assert len(provider.asked) == 9
    for kind in (QuotaPaused, ModelAvailabilityChanged, BreakerChanged, CredentialAvailabilityChanged):
        assert not [event for event in await stored_events(system, kind) if event.model == "alone"]


@pytest.mark.usefixtures("no_calls_yet")
async def test_a6_a_spent_budget_is_reported_and_the_other_key_is_used(
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
    changes = await stored_events(system, CredentialAvailabilityChanged)
    (credential,) = {event.credential for event in changes}
    assert {event.model for event in changes} >= {"paid", "first", "alone"}
    assert all(event.why.startswith("the budget is spent: 429: You exceeded") for event in changes)
    assert f'penstock_credential_budget_spent{{credential="{credential}"}} 1.0' in await system.metrics()
    assert f"the budget behind the credential {credential} is spent" in system.workers[0].log.read_text()
