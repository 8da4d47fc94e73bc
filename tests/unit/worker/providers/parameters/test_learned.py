"""Learning from refusals, in the wording of providers: which later requests are changed, and how."""

from __future__ import annotations

from typing import Any

import pytest

from services.worker.providers.errors.read_error import ProviderError
from services.worker.providers.parameters.learned import LEARNED_FOR_S, WEAK_EVIDENCE_REQUESTS
from tests.harness.providers.parameter_refusals import (
    RefusedRequest,
    RefusingWorker,
    by_field,
    by_message,
    from_body,
    openai_refusal,
)

TALK = [{"role": "developer", "content": "x"}, {"role": "user", "content": "y"}]
NAMES = ("temperature", "top_p", "reasoning_effort", "store", "stream_options", "frequency_penalty", "user")
NAMES += ("logprobs", "presence_penalty", "logit_bias", "parallel_tool_calls", "seed", "metadata")


STRONG = [
    # OpenAI
    by_field(
        "temperature",
        "'temperature' does not support 0.8. Only the default value is supported.",
        "unsupported_value",
    ),
    openai_refusal(
        "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is"
        " supported.",
        "temperature",
        "unsupported_value",
    ),
    openai_refusal(
        "Unsupported parameter: 'top_p' is not supported with this model.", "top_p", "unsupported_parameter"
    ),
    openai_refusal("Unsupported parameter: 'top_p' is not supported with this model."),
    openai_refusal("Unrecognized request argument supplied: reasoning_effort"),
    openai_refusal("Unknown parameter: 'store'.", "store", "unknown_parameter"),
    # Mistral
    by_field("store", "Extra inputs are not permitted", "extra_forbidden"),
    by_field("body.store", "Extra inputs are not permitted"),
    from_body(
        422,
        {
            "detail": [
                {
                    "type": "extra_forbidden",
                    "loc": ["body", "seed"],
                    "msg": "Extra inputs are not permitted",
                    "input": 1,
                }
            ]
        },
    ),
    # Gemini
    by_message(
        "frequency_penalty",
        'Invalid JSON payload received. Unknown name "frequency_penalty": Cannot find field.',
    ),
    # Groq
    openai_refusal("`logprobs` is not supported with this model", "logprobs"),
    openai_refusal("property 'reasoning_effort' is unsupported"),
    # xAI
    by_message("presencePenalty", "Model grok-4 does not support parameter presencePenalty."),
    from_body(
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "Argument not supported on this model: presencePenalty",
        },
    ),
    # Anthropic
    by_message("temperature", "`temperature` is deprecated for this model."),
]
WEAK = [
    openai_refusal("Sorry, this model does not support 'logit_bias' yet"),
    by_message("parallel_tool_calls", "parallel_tool_calls is no longer supported"),
    by_message("seed", "seed: additional properties are not allowed"),
    by_field("seed", "Our models: seed is not supported"),
]


@pytest.mark.parametrize("error", STRONG)
def test_strong_evidence_is_learned_once_a_call_without_it_succeeds(
    error: ProviderError,
) -> None:
    requests, requested = RefusingWorker(), dict.fromkeys(NAMES, 1)
    request = RefusedRequest(requests, requested)
    assert request.refused(error)
    (gone,) = requested.keys() - request.sent.keys()
    assert [(each.parameter, each.change) for each in request.adapted] == [(gone, "omitted")]
    assert requests.sent(requested) == requested, "nothing is learned before a call without it succeeds"
    request.succeeds()
    after = RefusedRequest(requests, dict.fromkeys(NAMES, 2))
    assert requested.keys() - after.sent.keys() == {gone}
    assert [(each.parameter, each.change) for each in after.adapted] == [(gone, "omitted")]
    assert requests.lines == [f"models.m.parameter_mapping: {{{gone}: no}}"]
    assert requests.sent(requested, "other") == requested, "other models are not affected"


@pytest.mark.parametrize("error", WEAK)
def test_weak_evidence_is_learned_after_several_different_requests(
    error: ProviderError,
) -> None:
    requests, requested = RefusingWorker(), dict.fromkeys(NAMES, 1)
    assert requests.learn(requested, error, WEAK_EVIDENCE_REQUESTS - 1)
    for _ in range(5):
        again = RefusedRequest(requests, requested, content=1)
        assert again.refused(error)
        again.succeeds()
    assert requests.sent(requested) == requested
    assert requests.learn(requested, error)
    assert len(requests.sent(requested)) == len(requested) - 1
    assert len(requests.lines) == 1


def test_weak_evidence_is_dropped_when_the_model_accepts_the_parameter() -> None:
    requests, error = RefusingWorker(), WEAK[0]
    for _ in range(4):
        assert requests.learn({"logit_bias": {"1": 1}}, error, WEAK_EVIDENCE_REQUESTS - 1)
        RefusedRequest(requests, {"logit_bias": {"2": 1}}).succeeds()
    assert requests.sent({"logit_bias": 1}) == {"logit_bias": 1}


MAX_TOKENS = openai_refusal(
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
    "max_tokens",
    "unsupported_parameter",
)
NEW_NAME = from_body(
    422,
    {
        "detail": [
            {
                "type": "extra_forbidden",
                "loc": ["body", "max_completion_tokens"],
                "msg": "Extra inputs are not permitted",
            }
        ]
    },
)


@pytest.mark.parametrize(
    ("requested", "error", "then"),
    [
        ({"max_tokens": 5}, MAX_TOKENS, {"max_completion_tokens": 5}),
        ({"max_completion_tokens": 5}, NEW_NAME, {"max_tokens": 5}),
        (
            {"user": "u"},
            by_field("user", "user is deprecated, use `safety_identifier` instead", "unsupported_parameter"),
            {"safety_identifier": "u"},
        ),
        (
            {"seed": 5},
            by_field("seed", "unknown field seed; use random_seed instead", "unknown_parameter"),
            {"random_seed": 5},
        ),
        (
            {"temperature": 0.3},
            openai_refusal(
                "Unsupported parameter: 'temperature'. Use 'logit_bias' instead.",
                "temperature",
                "unsupported_parameter",
            ),
            {},
        ),
    ],
)
def test_only_a_name_with_the_same_meaning_replaces_a_parameter(
    requested: dict[str, Any], error: ProviderError, then: dict[str, Any]
) -> None:
    requests = RefusingWorker()
    assert requests.learn(requested, error)
    assert requests.sent(requested) == then
    (name,) = requested
    assert requests.lines == [f"models.m.parameter_mapping: {{{name}: {next(iter(then), 'no')}}}"]


def test_a_new_name_that_the_model_refuses_is_never_learned() -> None:
    requests = RefusingWorker()
    for _ in range(5):
        request = RefusedRequest(requests, {"max_tokens": 5})
        assert request.refused(MAX_TOKENS)
        assert not request.refused(NEW_NAME), "both names were refused"
        assert requests.sent({"max_tokens": 5}) == {"max_tokens": 5}


def test_a_rule_whose_new_name_is_refused_is_removed_at_once() -> None:
    requests = RefusingWorker()
    assert requests.learn({"max_tokens": 5}, MAX_TOKENS)
    request = RefusedRequest(requests, {"max_tokens": 5})
    assert request.sent == {"max_completion_tokens": 5}
    assert request.refused(NEW_NAME)
    assert request.sent == {"max_tokens": 5}
    assert requests.sent({"max_tokens": 5}) == {"max_tokens": 5}, "before the call ends"
    request.succeeds()
    assert requests.sent({"max_tokens": 5}) == {"max_tokens": 5}
    assert requests.sent({"max_completion_tokens": 5}) == {"max_tokens": 5}


def test_the_last_accepted_of_two_names_is_used() -> None:
    requests = RefusingWorker()
    assert requests.learn({"max_tokens": 5}, MAX_TOKENS)
    assert requests.learn({"max_completion_tokens": 5}, NEW_NAME)
    assert requests.learn({"max_tokens": 5}, MAX_TOKENS)
    assert requests.sent({"max_tokens": 5}) == {"max_completion_tokens": 5}


@pytest.mark.parametrize("error", [STRONG[2], MAX_TOKENS])
def test_a_learned_rule_expires_and_is_learned_again(error: ProviderError) -> None:
    requests, requested = RefusingWorker(), {"top_p": 1, "max_tokens": 2}
    assert requests.learn(requested, error)
    requests.now_s = LEARNED_FOR_S - 1
    assert requests.sent(requested) != requested
    requests.now_s = LEARNED_FOR_S
    assert requests.sent(requested) == requested
    assert requests.learn(requested, error)
    assert requests.sent(requested) != requested
    assert len(requests.lines) == 2


def test_two_refused_parameters_are_learned_without_a_success() -> None:
    requests, requested = RefusingWorker(), {"top_p": 1, "store": True, "tools": []}
    request = RefusedRequest(requests, requested)
    assert request.refused(STRONG[2])
    assert request.refused(STRONG[5])
    assert requests.sent(requested) == {"store": True, "tools": []}
    request.failed(ProviderError(parameter="tools", message="Unsupported parameter: 'tools'."))
    assert requests.sent(requested) == {"tools": []}


def test_a_change_that_does_not_help_is_not_learned() -> None:
    requests = RefusingWorker()
    request = RefusedRequest(requests, {"top_p": 1})
    assert request.refused(STRONG[2])
    request.failed(ProviderError(message="top_p: bad request"))
    assert not request.refused(STRONG[2])
    assert requests.sent({"top_p": 1}) == {"top_p": 1}
    words = by_message("x", 'Unknown name "x": Cannot find field. Unknown name "top_p": Cannot find field.')
    request = RefusedRequest(requests, {"top_p": 1, 'x": Cannot find field. Unknown name "top_p': 1})
    assert request.refused(words)
    assert not request.refused(words)
    assert requests.sent({"top_p": 1}) == {"top_p": 1}


def role(name: str) -> ProviderError:
    return openai_refusal(
        f"Unsupported value: 'messages[0].role' does not support '{name}' with this model.",
        "messages[0].role",
        "unsupported_value",
    )


DEEPSEEK = openai_refusal(
    "Failed to deserialize the JSON body into the target type: messages[0].role: unknown variant `developer`,"
    " expected one of `system`, `user`, `assistant`, `tool` at line 1 column 40"
)
VLLM = from_body(
    400,
    {
        "object": "error",
        "message": "Unexpected message role: developer",
        "code": 400,
        "type": "BadRequestError",
    },
)


@pytest.mark.parametrize("error", [role("developer"), DEEPSEEK, VLLM])
def test_the_role_developer_becomes_system(error: ProviderError) -> None:
    requests = RefusingWorker()
    request = RefusedRequest(requests, {"messages": TALK})
    assert request.refused(error)
    assert request.sent["messages"][0] == {"role": "system", "content": "x"}
    assert [(each.parameter, each.change) for each in request.adapted] == [("developer_role", "replaced")]
    assert requests.sent({"messages": TALK})["messages"] == TALK
    request.succeeds()
    assert requests.sent({"messages": TALK})["messages"][0] == {"role": "system", "content": "x"}
    assert requests.lines == ["models.m.parameter_mapping: {developer_role: system}"]
    assert not request.refused(error)


def test_a_refused_system_role_becomes_user_after_developer() -> None:
    requests = RefusingWorker({"developer_role": "system"})
    system = by_field("messages[0].role", "does not support 'system'")
    assert requests.learn({"messages": TALK}, system, WEAK_EVIDENCE_REQUESTS)
    assert requests.sent({"messages": TALK})["messages"][0]["role"] == "user"
    assert requests.lines == ["models.m.parameter_mapping: {system_role: user}"]


def test_nothing_is_learned_from_a_list_of_accepted_roles() -> None:
    error = by_field(
        "messages[1].role",
        "Invalid value: 'foo'. Supported values are: 'assistant', 'user', and 'developer'.",
        "invalid_value",
    )
    requests = RefusingWorker()
    request = RefusedRequest(requests, {"messages": [*TALK, {"role": "foo", "content": ""}]})
    request.refused(error)
    assert not request.refused(error)
    assert requests.sent({"messages": TALK})["messages"] == TALK


def test_all_parameters_named_in_one_refusal_are_omitted_at_once() -> None:
    message = 'Unknown name "frequency_penalty": Cannot find field. Unknown name "seed": Cannot find field.'
    requests = RefusingWorker()
    assert requests.learn({"frequency_penalty": 1, "seed": 1}, by_message("frequency_penalty", message))
    assert requests.sent({"frequency_penalty": 1, "seed": 1, "top_p": 1}) == {"top_p": 1}
    assert len(requests.lines) == 2


def test_learned_rules_take_precedence_over_the_catalogue() -> None:
    requests = RefusingWorker({"seed": "random_seed", "top_p": True})
    request = RefusedRequest(requests, {"seed": 1})
    assert request.refused(by_field("random_seed", code="unknown_parameter"))
    assert request.sent == {}
    assert [(each.parameter, each.change) for each in request.adapted] == [("seed", "omitted")]
    request.succeeds()
    assert requests.lines == ["models.m.parameter_mapping: {seed: no}"]
    assert requests.sent({"seed": 1, "random_seed": 2}) == {}
    assert requests.learn({"top_p": 1}, by_field("top_p", code="unknown_parameter"))
    assert requests.sent({"top_p": 1}) == {}


def test_a_wrong_rename_of_the_catalogue_is_reverted() -> None:
    requests = RefusingWorker({"max_tokens": "max_completion_tokens"})
    request = RefusedRequest(requests, {"max_tokens": 5})
    assert request.refused(NEW_NAME)
    assert request.sent == {"max_tokens": 5}
    assert request.adapted == ()
    request.succeeds()
    assert requests.sent({"max_tokens": 5}) == {"max_tokens": 5}


def test_memory_and_log_lines_are_bounded() -> None:
    requests = RefusingWorker()
    for value in range(200):
        error = by_field("temperature", f"Expected a value <= 2, but got {value}", "decimal_above_max_value")
        requests.learn({"temperature": value}, error, WEAK_EVIDENCE_REQUESTS)
    for value in range(200):
        requests.learn(
            {"temperature": -value - 1}, by_field("temperature", "too low", "decimal_below_min_value")
        )
    state = requests.learned._states["m"]
    assert len(state.rules) <= 64
    assert len(state.suspicions) <= 32
    assert len(requests.lines) <= 64
