"""D11: an echo of the request changes no shared state; a statement of the provider itself does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.worker.providers.errors.classify import failure_of_error_event, failure_of_status
from services.worker.providers.errors.failures import ProviderFailure
from services.worker.providers.errors.proof import (
    proves_budget_spent,
    proves_key_refused,
    proves_model_missing,
    proves_rate_limit,
)
from services.worker.providers.errors.read_error import error_in
from services.worker.providers.errors.wire_errors import ProviderErrorEvent
from tests.unit.worker.providers.errors.echo_samples import ECHOES, Echo
from tests.unit.worker.providers.errors.samples import SAMPLES, Sample

NOW_UNIX_S = 1_790_000_000.0
SENT = "first"


def failure_of(status: int, body: Any) -> ProviderFailure:
    if status != 200:
        return failure_of_status(status, json.dumps(body).encode(), {}, NOW_UNIX_S)
    error = error_in(body)
    assert error is not None
    return failure_of_error_event(ProviderErrorEvent(error))


def changes_shared_state(failure: ProviderFailure, sent: str = SENT) -> bool:
    """Whether one such failure changes state that requests share, apart from the breaker."""
    error = failure.error
    assert error is not None
    return {
        "credentials": proves_key_refused(error),
        "budget_spent": proves_budget_spent(error),
        "not_found": proves_model_missing(error, sent),
        "rate_limited": proves_rate_limit(error),
    }.get(failure.kind, False)


@pytest.mark.parametrize("echo", ECHOES, ids=lambda echo: echo.name)
def test_d11_an_echo_of_the_request_changes_no_shared_state(echo: Echo) -> None:
    failure = failure_of(echo.status, echo.body)
    assert not changes_shared_state(failure), failure.kind
    assert failure.kind != "content_filter"
    assert failure.kind != "parameter" or echo.name in {
        "a parameter named moderation",
        "a field named like a model message",
        "a field named like a longer model message",
        "a path like an account message",
        "a path like a budget message, from Anthropic",
    }


@pytest.mark.parametrize("echo", ECHOES, ids=lambda echo: echo.name)
def test_d11_only_unquoted_text_raises_a_suspicion(echo: Echo) -> None:
    suspects = {"credentials", "budget_spent", "not_found", "rate_limited"}
    allowed = {
        "a fallback model",
        "the model of a tool, without a path",
        "another model, without quotes",
        "a draft model",
        "an adapter",
        "a missing thread",
        "a quote that is closed too early",
        "a prompt with an error in JSON",
    }
    if failure_of(echo.status, echo.body).kind in suspects:
        assert echo.name in allowed


MODEL_NAMES = {
    "gpt-5x",
    "x",
    "claude-9",
    "gemini-9",
    "llama9",
    "x/y",
    "nousresearch/hermes-3:free",
    "mistral-x",
    "moonshot-x",
}
OF_SHARED_STATE = tuple(
    sample
    for sample in SAMPLES
    if sample.kind in {"credentials", "budget_spent", "not_found"} and sample.body != ""
)


@pytest.mark.parametrize("sample", OF_SHARED_STATE, ids=lambda sample: f"{sample.kind}: {sample.source}")
def test_d11_a_known_statement_of_a_provider_is_proof(sample: Sample) -> None:
    failure = failure_of(sample.status, sample.body)
    text = json.dumps(sample.body)
    sent = max((name for name in MODEL_NAMES if name in text), key=len, default="any")
    assert changes_shared_state(failure, sent), failure


@pytest.mark.parametrize(
    ("message", "code", "sent", "proof"),
    [
        ("The model `gpt-4o` does not exist", "model_not_found", "gpt-4o", True),
        ("The model `gpt-4o-2024-08-06` does not exist", "model_not_found", "gpt-4o", True),
        ("The model `gpt-4o` does not exist", "model_not_found", "openai/gpt-4o", True),
        ("The model `gpt-4o` does not exist", "model_not_found", "gpt-5", False),
        ("There is no such model here", "model_not_found", "gpt-5", True),
        ("There is no such model here", None, "gpt-5", False),
        ("The model `gpt-4o` does not exist", None, "gpt-4o", True),
        ("the tool reports: The model `gpt-4o` does not exist", None, "gpt-4o", False),
        ("The model `gpt-4o` does not exist, reports the tool", None, "gpt-4o", False),
    ],
)
def test_d11_only_the_called_model_is_proven_missing(
    message: str, code: str | None, sent: str, *, proof: bool
) -> None:
    error = failure_of(404, {"error": {"message": message, "code": code, "param": None}}).error
    assert error is not None
    assert proves_model_missing(error, sent) is proof


STATEMENTS = st.sampled_from(
    [
        "your credit balance is too low",
        "insufficient_quota",
        "api key not valid. please pass a valid api key.",
        "the model first does not exist",
        "rate limit exceeded, try again in 20m",
        "payment required",
        '{"error":{"code":"insufficient_quota","message":"payment required"}}',
        "{'code': 'invalid_api_key'}",
        "your account has been suspended",
    ]
)
PUNCTUATION = st.text("'\"`“”{}[]: ,.;/\\n", max_size=4)
FRAMES = st.sampled_from(
    [
        "Unknown parameter: '{}'.",
        "Invalid value: '{}'. Supported values are: 'a'.",
        "Failed to download image from https://x.y/{}: not found",
        "{}: Extra inputs are not permitted",
        "Could not parse the message {} at messages[0].content",
        'Invalid tool "{}"',
        "messages.0: property `{}` is unsupported",
        "failed to render the template: {}",
        "prompt ({}) was not understood",
    ]
)


@example(
    form="{}: Extra inputs are not permitted",
    parts=['{"error":{"code":"insufficient_quota","message":"payment required"}}'],
    status=400,
    wrapped=False,
)
@given(
    form=FRAMES,
    parts=st.lists(STATEMENTS | PUNCTUATION | st.text(max_size=5), min_size=1, max_size=5),
    status=st.sampled_from([400, 403, 404, 422, 500, 502, 200]),
    wrapped=st.booleans(),
)
def test_d11_no_text_of_a_request_is_proof(
    form: str, parts: list[str], status: int, *, wrapped: bool
) -> None:
    message = form.replace("{}", "".join(parts))
    body: Any = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}
    if status == 200:
        body["error"]["code"] = 400
    if wrapped:
        body = {
            "detail": [{"loc": ["body", "".join(parts)], "msg": message, "input": "".join(parts)}],
            "code": 400,
        }
    assert not changes_shared_state(failure_of(status, body))


def test_d11_a_truncated_error_proves_nothing() -> None:
    """The readable part may be an echo of the request."""
    body = b'{"detail":[{"msg":"Field required","input":[{"code":"insufficient_quota","x":"'
    for status in (400, 403, 422):
        assert not changes_shared_state(failure_of_status(status, body, {}, NOW_UNIX_S))
