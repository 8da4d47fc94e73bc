"""Changes to one request after a refusal: keys within a parameter, and fields that are never omitted."""

from __future__ import annotations

from typing import Any

import pytest

from services.worker.providers.errors.read_error import ProviderError
from services.worker.providers.parameters.learned import WEAK_EVIDENCE_REQUESTS
from tests.harness.providers.parameter_refusals import (
    RefusedRequest,
    RefusingWorker,
    by_field,
    from_body,
    openai_refusal,
)

NESTED = [
    (
        {"stream_options": {"include_usage": True, "foo": 1}},
        {"stream_options": {"include_usage": True}},
        openai_refusal("Unknown parameter: 'stream_options.foo'.", "stream_options.foo", "unknown_parameter"),
    ),
    (
        {"stream_options": {"include_usage": True, "foo": 1}},
        {"stream_options": {"include_usage": True}},
        openai_refusal("Unknown parameter: 'stream_options.foo'.", "stream_options", "unknown_parameter"),
    ),
    (
        {"reasoning": {"foo": 1, "effort": "high"}},
        {"reasoning": {"effort": "high"}},
        openai_refusal("reasoning.foo: Extra inputs are not permitted"),
    ),
    (
        {"thinking": {"type": "enabled", "foo": 1}},
        {"thinking": {"type": "enabled"}},
        openai_refusal("thinking.foo: Extra inputs are not permitted"),
    ),
    (
        {"metadata": {"x": 1, "y": 2}},
        {"metadata": {"y": 2}},
        openai_refusal("Unknown parameter: 'metadata.x'.", "metadata.x", "unknown_parameter"),
    ),
    (
        {"metadata": {"a.b": 1, "y": 2}},
        {"metadata": {"y": 2}},
        openai_refusal("Unknown parameter: 'metadata.a.b'.", "metadata.a.b", "unknown_parameter"),
    ),
    (
        {"logit_bias": {"123": 1}},
        {},
        openai_refusal("Unsupported parameter: 'logit_bias.123'.", "logit_bias.123", "unsupported_parameter"),
    ),
    (
        {"prediction": {"a": {"b": 1, "c": 2}}},
        {"prediction": {"a": {"c": 2}}},
        from_body(
            422,
            {
                "detail": [
                    {
                        "type": "extra_forbidden",
                        "loc": ["body", "prediction", "a", "b"],
                        "msg": "Extra inputs are not permitted",
                    }
                ]
            },
        ),
    ),
    ({"prediction": "x"}, {}, by_field("prediction.a", "Extra inputs are not permitted", "extra_forbidden")),
]


@pytest.mark.parametrize(("requested", "then", "error"), NESTED)
def test_a_refused_key_within_a_parameter_changes_only_its_request(
    requested: dict[str, Any], then: dict[str, Any], error: ProviderError
) -> None:
    requests = RefusingWorker()
    for _ in range(WEAK_EVIDENCE_REQUESTS + 1):
        request = RefusedRequest(requests, requested)
        assert request.refused(error)
        assert request.sent == then
        assert [each.change for each in request.adapted] == ["omitted"]
        request.succeeds()
    assert requests.sent(requested) == requested
    assert requests.sent(then) == then
    assert requests.lines == []


def test_a_second_refused_key_omits_the_whole_parameter() -> None:
    request = RefusedRequest(
        RefusingWorker(), {"reasoning": {"foo": 1, "bar": 1, "effort": "high"}, "top_p": 1}
    )
    assert request.refused(openai_refusal("reasoning.foo: Extra inputs are not permitted"))
    assert request.refused(openai_refusal("reasoning.bar: Extra inputs are not permitted"))
    assert request.sent == {"top_p": 1}
    assert not request.refused(openai_refusal("reasoning.effort: Extra inputs are not permitted"))


def test_refused_stream_usage_is_learned_from_several_requests() -> None:
    """Otherwise each stream from Mistral would cost two calls."""
    error = by_field("stream_options.include_usage", "Extra inputs are not permitted", "extra_forbidden")
    requests, requested = RefusingWorker(), {"stream_options": {"include_usage": True}}
    assert requests.learn(requested, error, WEAK_EVIDENCE_REQUESTS)
    assert requests.sent(requested) == {}
    more = {"stream_options": {"include_usage": True, "include_obfuscation": False}}
    assert requests.sent(more) == more


def test_an_output_limit_is_never_omitted() -> None:
    too_much = by_field(
        "max_completion_tokens", "max_tokens is too large: 9. This model supports at most 4.", "invalid_value"
    )
    assert not RefusedRequest(RefusingWorker(), {"max_completion_tokens": 9}).refused(too_much)
    nested = by_field("max_tokens.x", code="unknown_parameter")
    assert not RefusedRequest(RefusingWorker(), {"max_tokens": 9}).refused(nested)


@pytest.mark.parametrize(
    "parameter",
    ["tools", "tool_choice", "functions", "response_format", "messages", "model", "stream", "n", "stop", "x"],
)
def test_an_essential_field_is_never_omitted(parameter: str) -> None:
    request = RefusedRequest(RefusingWorker(), {parameter: [1]})
    assert not request.refused(by_field(parameter, code="unsupported_parameter"))
    assert not request.refused(by_field(f"{parameter}.x", code="unsupported_parameter"))
    assert request.sent == {parameter: [1]}


@pytest.mark.parametrize(
    "error", [None, by_field(""), by_field("temperature", code="unknown_parameter"), by_field("[")]
)
def test_a_refusal_of_an_unsent_parameter_changes_nothing(error: ProviderError | None) -> None:
    requests = RefusingWorker()
    assert not RefusedRequest(requests, {"top_p": 1}).refused(error)
    assert requests.sent({"temperature": 1}) == {"temperature": 1}
