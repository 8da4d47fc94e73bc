"""Refusals that name a parameter, in the words of providers, and what is sent afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from services.worker.providers.errors.read_error import ProviderError
from services.worker.providers.parameters.learned import LEARNED_FOR_S, WEAK_EVIDENCE_REQUESTS
from tests.harness.parameter_refusals import RefusedRequest, RefusingWorker, by_field, by_words, from_body

TALK = [{"role": "developer", "content": "x"}, {"role": "user", "content": "y"}]
NAMES = ("temperature", "top_p", "reasoning_effort", "store", "stream_options", "frequency_penalty", "user")
NAMES += ("logprobs", "presence_penalty", "logit_bias", "parallel_tool_calls", "seed", "metadata")


def openai(message: str, param: str | None = None, code: str | None = None) -> ProviderError:
    return from_body(
        400, {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}
    )


STRONG = [
    # OpenAI
    by_field(
        "temperature",
        "'temperature' does not support 0.8. Only the default value is supported.",
        "unsupported_value",
    ),
    openai(
        "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is"
        " supported.",
        "temperature",
        "unsupported_value",
    ),
    openai(
        "Unsupported parameter: 'top_p' is not supported with this model.", "top_p", "unsupported_parameter"
    ),
    openai("Unsupported parameter: 'top_p' is not supported with this model."),
    openai("Unrecognized request argument supplied: reasoning_effort"),
    openai("Unknown parameter: 'store'.", "store", "unknown_parameter"),
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
    by_words(
        "frequency_penalty",
        'Invalid JSON payload received. Unknown name "frequency_penalty": Cannot find field.',
    ),
    # Groq
    openai("`logprobs` is not supported with this model", "logprobs"),
    openai("property 'reasoning_effort' is unsupported"),
    # xAI
    by_words("presencePenalty", "Model grok-4 does not support parameter presencePenalty."),
    from_body(
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "Argument not supported on this model: presencePenalty",
        },
    ),
    # Anthropic
    by_words("temperature", "`temperature` is deprecated for this model."),
]
WEAK = [
    openai("Sorry, this model does not support 'logit_bias' yet"),
    by_words("parallel_tool_calls", "parallel_tool_calls is no longer supported"),
    by_words("seed", "seed: additional properties are not allowed"),
    by_field("seed", "Our models: seed is not supported"),
]


@pytest.mark.parametrize("error", STRONG)
def test_a_parameter_that_is_surely_refused_is_left_out_once_a_call_without_it_succeeded(
    error: ProviderError,
) -> None:
    requests, asked = RefusingWorker(), dict.fromkeys(NAMES, 1)
    request = RefusedRequest(requests, asked)
    assert request.refused(error)
    (gone,) = asked.keys() - request.sent.keys()
    assert [(each.parameter, each.change) for each in request.adapted] == [(gone, "omitted")]
    assert requests.sent(asked) == asked, "nothing is learned before the call has shown that it helps"
    request.succeeds()
    after = RefusedRequest(requests, dict.fromkeys(NAMES, 2))
    assert asked.keys() - after.sent.keys() == {gone}
    assert [(each.parameter, each.change) for each in after.adapted] == [(gone, "omitted")]
    assert requests.lines == [f"models.m.takes: {{{gone}: no}}"]
    assert requests.sent(asked, "other") == asked, "another model may take it"


@pytest.mark.parametrize("error", WEAK)
def test_words_alone_become_a_lesson_after_several_requests_with_different_content(
    error: ProviderError,
) -> None:
    requests, asked = RefusingWorker(), dict.fromkeys(NAMES, 1)
    assert requests.learn(asked, error, WEAK_EVIDENCE_REQUESTS - 1)
    for _ in range(5):
        again = RefusedRequest(requests, asked, content=1)
        assert again.refused(error)
        again.succeeds()
    assert requests.sent(asked) == asked
    assert requests.learn(asked, error)
    assert len(requests.sent(asked)) == len(asked) - 1
    assert len(requests.lines) == 1


def test_words_alone_become_no_lesson_where_the_model_takes_the_parameter_meanwhile() -> None:
    requests, error = RefusingWorker(), WEAK[0]
    for _ in range(4):
        assert requests.learn({"logit_bias": {"1": 1}}, error, WEAK_EVIDENCE_REQUESTS - 1)
        RefusedRequest(requests, {"logit_bias": {"2": 1}}).succeeds()
    assert requests.sent({"logit_bias": 1}) == {"logit_bias": 1}


NESTED = [
    (
        {"stream_options": {"include_usage": True, "foo": 1}},
        {"stream_options": {"include_usage": True}},
        openai("Unknown parameter: 'stream_options.foo'.", "stream_options.foo", "unknown_parameter"),
    ),
    (
        {"stream_options": {"include_usage": True, "foo": 1}},
        {"stream_options": {"include_usage": True}},
        openai("Unknown parameter: 'stream_options.foo'.", "stream_options", "unknown_parameter"),
    ),
    (
        {"reasoning": {"foo": 1, "effort": "high"}},
        {"reasoning": {"effort": "high"}},
        openai("reasoning.foo: Extra inputs are not permitted"),
    ),
    (
        {"thinking": {"type": "enabled", "foo": 1}},
        {"thinking": {"type": "enabled"}},
        openai("thinking.foo: Extra inputs are not permitted"),
    ),
    (
        {"metadata": {"x": 1, "y": 2}},
        {"metadata": {"y": 2}},
        openai("Unknown parameter: 'metadata.x'.", "metadata.x", "unknown_parameter"),
    ),
    (
        {"metadata": {"a.b": 1, "y": 2}},
        {"metadata": {"y": 2}},
        openai("Unknown parameter: 'metadata.a.b'.", "metadata.a.b", "unknown_parameter"),
    ),
    (
        {"logit_bias": {"123": 1}},
        {},
        openai("Unsupported parameter: 'logit_bias.123'.", "logit_bias.123", "unsupported_parameter"),
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


@pytest.mark.parametrize(("asked", "then", "error"), NESTED)
def test_a_key_within_a_parameter_concerns_this_request_alone(
    asked: dict[str, Any], then: dict[str, Any], error: ProviderError
) -> None:
    requests = RefusingWorker()
    for _ in range(WEAK_EVIDENCE_REQUESTS + 1):
        request = RefusedRequest(requests, asked)
        assert request.refused(error)
        assert request.sent == then
        assert [each.change for each in request.adapted] == ["omitted"]
        request.succeeds()
    assert requests.sent(asked) == asked
    assert requests.sent(then) == then
    assert requests.lines == []


def test_a_key_that_is_refused_again_takes_the_parameter_with_it() -> None:
    request = RefusedRequest(
        RefusingWorker(), {"reasoning": {"foo": 1, "bar": 1, "effort": "high"}, "top_p": 1}
    )
    assert request.refused(openai("reasoning.foo: Extra inputs are not permitted"))
    assert request.refused(openai("reasoning.bar: Extra inputs are not permitted"))
    assert request.sent == {"top_p": 1}
    assert not request.refused(openai("reasoning.effort: Extra inputs are not permitted"))


def test_what_every_stream_asks_for_is_learned_from_several() -> None:
    """Mistral's: each streamed request would cost two calls."""
    error = by_field("stream_options.include_usage", "Extra inputs are not permitted", "extra_forbidden")
    requests, asked = RefusingWorker(), {"stream_options": {"include_usage": True}}
    assert requests.learn(asked, error, WEAK_EVIDENCE_REQUESTS)
    assert requests.sent(asked) == {}
    more = {"stream_options": {"include_usage": True, "include_obfuscation": False}}
    assert requests.sent(more) == more


ECHOES = [
    (
        {"temperature": 0.3, "messages": [{"role": "temperature is not supported"}]},
        by_words(
            "temperature",
            "Invalid value: 'temperature is not supported'. Supported values are: 'system', 'user'.",
        ),
    ),
    (
        {"reasoning_effort": "low", "messages": [{"content": "https://x/reasoning_effort is not supported"}]},
        by_words("reasoning_effort", "Failed to load 'https://x/reasoning_effort is not supported'"),
    ),
    (
        {"max_tokens": 50, "tool_choice": "https://x/?max_tokens is not supported"},
        by_words("max_tokens", "Failed to load image https://x/?max_tokens is not supported"),
    ),
    (
        {"reasoning_effort": "reasoning_effort is not supported with this model"},
        openai("reasoning_effort is not supported with this model", "reasoning_effort"),
    ),
    (
        {"reasoning_effort": "reasoning_effort\nis NOT  supported"},
        openai("Invalid: reasoning_effort is not supported", "reasoning_effort"),
    ),
    (
        {"top_p": 1, "user": "https://x/top_p%20is%20not%20supported"},
        by_words("top_p", "Bad address: top_p is not supported"),
    ),
    (
        {"reasoning_effort": '{"message":"x","code":"extra_forbidden","param":"reasoning_effort"}'},
        openai(
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
        openai(
            "Unsupported parameter: 'top_p' is not supported when reasoning_effort is not none.",
            "top_p",
            "unsupported_parameter",
        ),
    ),
    (
        {"temperature": 1},
        openai(
            "Unsupported parameter: 'temperature' is not supported together with tools.",
            "temperature",
            "unsupported_parameter",
        ),
    ),
]


@pytest.mark.parametrize(("asked", "error"), ECHOES)
def test_what_a_provider_repeats_or_refuses_for_something_else_is_never_learned_from_one_request(
    asked: dict[str, Any], error: ProviderError
) -> None:
    requests = RefusingWorker()
    requests.learn(asked, error)
    assert requests.sent(asked) == asked
    for name in ("temperature", "reasoning_effort", "max_tokens", "top_p"):
        assert requests.sent({name: 1}) == {name: 1}


@pytest.mark.parametrize("number", [0, 1, 3, 4, 5])
def test_a_sentence_that_stands_in_the_request_is_not_learned_from_many_either(number: int) -> None:
    asked, error = ECHOES[number]
    requests = RefusingWorker()
    requests.learn(asked, error, 10)
    assert requests.sent(asked) == asked


VALUES = [
    by_field("temperature", "Expected a value <= 2, but got 5 instead.", "decimal_above_max_value"),
    openai("'temperature' does not support 5 with this model.", "temperature", "unsupported_value"),
]
CONDITIONS = [
    by_field("temperature", "Function tools with temperature are not supported in /v1/chat/completions."),
    by_field("temperature", "The 'temperature' parameter is only allowed when 'store' is enabled."),
    openai("`temperature` and `top_p` cannot both be specified for this model."),
    openai("temperature is not supported when thinking is enabled"),
    by_field("temperature", "temperature is out of range"),
]


@pytest.mark.parametrize("error", VALUES)
def test_a_value_is_learned_from_several_requests_and_costs_no_other_value(error: ProviderError) -> None:
    requests = RefusingWorker()
    assert requests.learn({"temperature": 5}, error, WEAK_EVIDENCE_REQUESTS - 1)
    assert requests.sent({"temperature": 5}) == {"temperature": 5}
    assert requests.learn({"temperature": 5}, error)
    assert requests.sent({"temperature": 5}) == {}
    assert requests.sent({"temperature": 1}) == {"temperature": 1}


@pytest.mark.parametrize("error", CONDITIONS)
def test_a_parameter_that_is_refused_for_what_stands_beside_it_is_not_learned(error: ProviderError) -> None:
    requests = RefusingWorker()
    asked = {"temperature": 5, "top_p": 1}
    assert requests.learn(asked, error, 2 * WEAK_EVIDENCE_REQUESTS)
    assert requests.sent(asked) == asked


MAX_TOKENS = openai(
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
    ("asked", "error", "then"),
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
            openai(
                "Unsupported parameter: 'temperature'. Use 'logit_bias' instead.",
                "temperature",
                "unsupported_parameter",
            ),
            {},
        ),
    ],
)
def test_only_a_name_for_the_same_thing_is_used_instead(
    asked: dict[str, Any], error: ProviderError, then: dict[str, Any]
) -> None:
    requests = RefusingWorker()
    assert requests.learn(asked, error)
    assert requests.sent(asked) == then
    (name,) = asked
    assert requests.lines == [f"models.m.takes: {{{name}: {next(iter(then), 'no')}}}"]


def test_a_new_name_that_the_provider_does_not_know_is_never_learned() -> None:
    requests = RefusingWorker()
    for _ in range(5):
        request = RefusedRequest(requests, {"max_tokens": 5})
        assert request.refused(MAX_TOKENS)
        assert not request.refused(NEW_NAME), "neither name is taken"
        assert requests.sent({"max_tokens": 5}) == {"max_tokens": 5}


def test_a_lesson_whose_new_name_is_refused_is_unlearnt_at_once() -> None:
    requests = RefusingWorker()
    assert requests.learn({"max_tokens": 5}, MAX_TOKENS)
    request = RefusedRequest(requests, {"max_tokens": 5})
    assert request.sent == {"max_completion_tokens": 5}
    assert request.refused(NEW_NAME)
    assert request.sent == {"max_tokens": 5}
    assert requests.sent({"max_tokens": 5}) == {"max_tokens": 5}, "before the call has ended"
    request.succeeds()
    assert requests.sent({"max_tokens": 5}) == {"max_tokens": 5}
    assert requests.sent({"max_completion_tokens": 5}) == {"max_tokens": 5}


def test_of_two_names_the_last_that_was_taken_holds() -> None:
    requests = RefusingWorker()
    assert requests.learn({"max_tokens": 5}, MAX_TOKENS)
    assert requests.learn({"max_completion_tokens": 5}, NEW_NAME)
    assert requests.learn({"max_tokens": 5}, MAX_TOKENS)
    assert requests.sent({"max_tokens": 5}) == {"max_completion_tokens": 5}


def test_an_output_limit_is_never_left_out() -> None:
    too_much = by_field(
        "max_completion_tokens", "max_tokens is too large: 9. This model supports at most 4.", "invalid_value"
    )
    assert not RefusedRequest(RefusingWorker(), {"max_completion_tokens": 9}).refused(too_much)
    nested = by_field("max_tokens.x", code="unknown_parameter")
    assert not RefusedRequest(RefusingWorker(), {"max_tokens": 9}).refused(nested)


@pytest.mark.parametrize("error", [STRONG[2], MAX_TOKENS])
def test_a_lesson_lapses_and_is_learned_anew(error: ProviderError) -> None:
    requests, asked = RefusingWorker(), {"top_p": 1, "max_tokens": 2}
    assert requests.learn(asked, error)
    requests.now_s = LEARNED_FOR_S - 1
    assert requests.sent(asked) != asked
    requests.now_s = LEARNED_FOR_S
    assert requests.sent(asked) == asked
    assert requests.learn(asked, error)
    assert requests.sent(asked) != asked
    assert len(requests.lines) == 2


def test_two_parameters_refused_in_turn_are_both_learned_though_the_request_never_succeeds() -> None:
    requests, asked = RefusingWorker(), {"top_p": 1, "store": True, "tools": []}
    request = RefusedRequest(requests, asked)
    assert request.refused(STRONG[2])
    assert request.refused(STRONG[5])
    assert requests.sent(asked) == {"store": True, "tools": []}
    request.failed(ProviderError(parameter="tools", message="Unsupported parameter: 'tools'."))
    assert requests.sent(asked) == {"tools": []}


def test_a_change_that_does_not_help_is_not_learned() -> None:
    requests = RefusingWorker()
    request = RefusedRequest(requests, {"top_p": 1})
    assert request.refused(STRONG[2])
    request.failed(ProviderError(message="top_p: bad request"))
    assert not request.refused(STRONG[2])
    assert requests.sent({"top_p": 1}) == {"top_p": 1}
    words = by_words("x", 'Unknown name "x": Cannot find field. Unknown name "top_p": Cannot find field.')
    request = RefusedRequest(requests, {"top_p": 1, 'x": Cannot find field. Unknown name "top_p': 1})
    assert request.refused(words)
    assert not request.refused(words)
    assert requests.sent({"top_p": 1}) == {"top_p": 1}


@pytest.mark.parametrize(
    "parameter",
    ["tools", "tool_choice", "functions", "response_format", "messages", "model", "stream", "n", "stop", "x"],
)
def test_what_an_answer_depends_on_is_never_left_out(parameter: str) -> None:
    request = RefusedRequest(RefusingWorker(), {parameter: [1]})
    assert not request.refused(by_field(parameter, code="unsupported_parameter"))
    assert not request.refused(by_field(f"{parameter}.x", code="unsupported_parameter"))
    assert request.sent == {parameter: [1]}


@pytest.mark.parametrize(
    "error", [None, by_field(""), by_field("temperature", code="unknown_parameter"), by_field("[")]
)
def test_a_refusal_of_what_was_not_sent_changes_nothing(error: ProviderError | None) -> None:
    requests = RefusingWorker()
    assert not RefusedRequest(requests, {"top_p": 1}).refused(error)
    assert requests.sent({"temperature": 1}) == {"temperature": 1}


def role(name: str) -> ProviderError:
    return openai(
        f"Unsupported value: 'messages[0].role' does not support '{name}' with this model.",
        "messages[0].role",
        "unsupported_value",
    )


DEEPSEEK = openai(
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
    assert requests.lines == ["models.m.takes: {developer_role: system}"]
    assert not request.refused(error)


def test_the_role_system_becomes_user_behind_it() -> None:
    requests = RefusingWorker({"developer_role": "system"})
    system = by_field("messages[0].role", "does not support 'system'")
    assert requests.learn({"messages": TALK}, system, WEAK_EVIDENCE_REQUESTS)
    assert requests.sent({"messages": TALK})["messages"][0]["role"] == "user"
    assert requests.lines == ["models.m.takes: {system_role: user}"]


def test_a_list_of_roles_that_names_developer_teaches_nothing() -> None:
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


def test_all_names_of_one_refusal_are_left_out_at_once() -> None:
    message = 'Unknown name "frequency_penalty": Cannot find field. Unknown name "seed": Cannot find field.'
    requests = RefusingWorker()
    assert requests.learn({"frequency_penalty": 1, "seed": 1}, by_words("frequency_penalty", message))
    assert requests.sent({"frequency_penalty": 1, "seed": 1, "top_p": 1}) == {"top_p": 1}
    assert len(requests.lines) == 2


def test_what_is_learned_stands_on_top_of_the_catalogue() -> None:
    requests = RefusingWorker({"seed": "random_seed", "top_p": True})
    request = RefusedRequest(requests, {"seed": 1})
    assert request.refused(by_field("random_seed", code="unknown_parameter"))
    assert request.sent == {}
    assert [(each.parameter, each.change) for each in request.adapted] == [("seed", "omitted")]
    request.succeeds()
    assert requests.lines == ["models.m.takes: {seed: no}"]
    assert requests.sent({"seed": 1, "random_seed": 2}) == {}
    assert requests.learn({"top_p": 1}, by_field("top_p", code="unknown_parameter"))
    assert requests.sent({"top_p": 1}) == {}


def test_a_rename_of_the_catalogue_that_is_wrong_is_undone() -> None:
    requests = RefusingWorker({"max_tokens": "max_completion_tokens"})
    request = RefusedRequest(requests, {"max_tokens": 5})
    assert request.refused(NEW_NAME)
    assert request.sent == {"max_tokens": 5}
    assert request.adapted == ()
    request.succeeds()
    assert requests.sent({"max_tokens": 5}) == {"max_tokens": 5}


def test_memory_and_lines_are_bounded() -> None:
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
