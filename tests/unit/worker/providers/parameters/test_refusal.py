"""The evidence of a refusal: echoes of the request, refused values, and refused combinations."""

from __future__ import annotations

from typing import Any

import pytest

from services.worker.providers.errors.read_error import ProviderError
from services.worker.providers.parameters.learned import WEAK_EVIDENCE_REQUESTS
from tests.harness.providers.parameter_refusals import (
    RefusingWorker,
    by_field,
    by_message,
    from_body,
    openai_refusal,
)

ECHOES = [
    (
        {"temperature": 0.3, "messages": [{"role": "temperature is not supported"}]},
        by_message(
            "temperature",
            "Invalid value: 'temperature is not supported'. Supported values are: 'system', 'user'.",
        ),
    ),
    (
        {"reasoning_effort": "low", "messages": [{"content": "https://x/reasoning_effort is not supported"}]},
        by_message("reasoning_effort", "Failed to load 'https://x/reasoning_effort is not supported'"),
    ),
    (
        {"max_tokens": 50, "tool_choice": "https://x/?max_tokens is not supported"},
        by_message("max_tokens", "Failed to load image https://x/?max_tokens is not supported"),
    ),
    (
        {"reasoning_effort": "reasoning_effort is not supported with this model"},
        openai_refusal("reasoning_effort is not supported with this model", "reasoning_effort"),
    ),
    (
        {"reasoning_effort": "reasoning_effort\nis NOT  supported"},
        openai_refusal("Invalid: reasoning_effort is not supported", "reasoning_effort"),
    ),
    (
        {"top_p": 1, "user": "https://x/top_p%20is%20not%20supported"},
        by_message("top_p", "Bad address: top_p is not supported"),
    ),
    (
        {"reasoning_effort": '{"message":"x","code":"extra_forbidden","param":"reasoning_effort"}'},
        openai_refusal(
            'Bad value {"message":"reasoning_effort is not supported","code":"extra_forbidden",'
            '"param":"reasoning_effort"}'
        ),
    ),
    (
        {"temperature": 1, "code": "extra_forbidden"},
        from_body(
            422,
            {
                "detail": "temperature is not supported, or is it",
                "body": {
                    "param": "temperature",
                    "code": "extra_forbidden",
                    "message": "temperature is not supported",
                },
            },
        ),
    ),
    (
        {"top_p": 1},
        openai_refusal(
            "Unsupported parameter: 'top_p' is not supported when reasoning_effort is not none.",
            "top_p",
            "unsupported_parameter",
        ),
    ),
    (
        {"temperature": 1},
        openai_refusal(
            "Unsupported parameter: 'temperature' is not supported together with tools.",
            "temperature",
            "unsupported_parameter",
        ),
    ),
]


@pytest.mark.parametrize(("requested", "error"), ECHOES)
def test_an_echo_or_a_conditional_refusal_is_not_learned_from_one_request(
    requested: dict[str, Any], error: ProviderError
) -> None:
    requests = RefusingWorker()
    requests.learn(requested, error)
    assert requests.sent(requested) == requested
    for name in ("temperature", "reasoning_effort", "max_tokens", "top_p"):
        assert requests.sent({name: 1}) == {name: 1}


@pytest.mark.parametrize("number", [0, 1, 3, 4, 5])
def test_an_echo_of_the_request_is_not_learned_from_many_requests(number: int) -> None:
    requested, error = ECHOES[number]
    requests = RefusingWorker()
    requests.learn(requested, error, 10)
    assert requests.sent(requested) == requested


VALUES = [
    by_field("temperature", "Expected a value <= 2, but got 5 instead.", "decimal_above_max_value"),
    openai_refusal("'temperature' does not support 5 with this model.", "temperature", "unsupported_value"),
]
CONDITIONS = [
    by_field("temperature", "Function tools with temperature are not supported in /v1/chat/completions."),
    by_field("temperature", "The 'temperature' parameter is only allowed when 'store' is enabled."),
    openai_refusal("`temperature` and `top_p` cannot both be specified for this model."),
    openai_refusal("temperature is not supported when thinking is enabled"),
    by_field("temperature", "temperature is out of range"),
]


@pytest.mark.parametrize("error", VALUES)
def test_a_refused_value_is_learned_from_several_requests_alone(error: ProviderError) -> None:
    requests = RefusingWorker()
    assert requests.learn({"temperature": 5}, error, WEAK_EVIDENCE_REQUESTS - 1)
    assert requests.sent({"temperature": 5}) == {"temperature": 5}
    assert requests.learn({"temperature": 5}, error)
    assert requests.sent({"temperature": 5}) == {}
    assert requests.sent({"temperature": 1}) == {"temperature": 1}


@pytest.mark.parametrize("error", CONDITIONS)
def test_a_refused_combination_of_parameters_is_not_learned(error: ProviderError) -> None:
    requests = RefusingWorker()
    requested = {"temperature": 5, "top_p": 1}
    assert requests.learn(requested, error, 2 * WEAK_EVIDENCE_REQUESTS)
    assert requests.sent(requested) == requested
