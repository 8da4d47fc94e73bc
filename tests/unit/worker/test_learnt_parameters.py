"""Refusals that name a parameter, in the words of providers, and what is sent afterwards."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from penstock.config.catalogue import Catalogue, Model, Provider, RoleConfig
from penstock.config.takes import Take
from services.worker.calls.errors import ProviderError
from services.worker.learnt_parameters import LearntParameters, Lesson


def learner(takes: dict[str, Take] | None = None) -> LearntParameters:
    return LearntParameters(
        Catalogue(
            name="t",
            providers={"p": Provider()},
            models={"m": Model(provider="p", takes=takes or {}), "other": Model(provider="p")},
            roles={"chat": RoleConfig(chain=("m", "other"))},
        )
    )


def sent(learnt: LearntParameters, asked: dict[str, Any], model: str = "m") -> dict[str, Any]:
    fields = {name: Raw(json.dumps(value).encode()) for name, value in asked.items()}
    learnt.adaptation(model).apply(fields)
    return {name: json.loads(bytes(value)) for name, value in fields.items()}


def refuse(learnt: LearntParameters, asked: dict[str, Any], error: ProviderError) -> Lesson | None:
    return learnt.learn("m", error, json.dumps(sent(learnt, asked)).encode())


def said(parameter: str, message: str = "", code: str | None = None) -> ProviderError:
    return ProviderError(parameter=parameter, message=message, code=code)


TALK = [{"role": "developer", "content": "x"}, {"role": "user", "content": "y"}]

WHOLE = [
    # OpenAI
    ("temperature", "'temperature' does not support 0.8. Only the default value is supported.", "unsupported_value"),
    ("top_p", "Unsupported parameter: 'top_p' is not supported with this model.", "unsupported_parameter"),
    ("reasoning_effort", "Unrecognized request argument supplied: reasoning_effort", None),
    # Mistral
    ("store", "Extra inputs are not permitted", "extra_forbidden"),
    ("body.store", "Extra inputs are not permitted", None),
    ("stream_options.include_usage", "Extra inputs are not permitted", None),
    # Gemini
    ("frequency_penalty", 'Invalid JSON payload received. Unknown name "frequency_penalty": Cannot find field.', None),
    # Groq
    ("logprobs", "`logprobs` is not supported with this model", None),
    ("reasoning_effort", "property 'reasoning_effort' is unsupported", None),
    # xAI
    ("presencePenalty", "Model grok-4 does not support parameter presencePenalty.", None),
    ("presence_penalty", "Argument not supported on this model: presencePenalty", None),
    # Anthropic
    ("temperature", "`temperature` is deprecated for this model.", None),
    # others
    ("logit_bias", "this model doesn't support logit_bias", None),
    ("parallel_tool_calls", "parallel_tool_calls is no longer supported", None),
    ("seed", "seed: additional properties are not allowed", None),
]  # fmt: skip


@pytest.mark.parametrize(("parameter", "message", "code"), WHOLE)
def test_a_parameter_that_is_refused_whatever_its_value_is_left_out_from_then_on(
    parameter: str, message: str, code: str | None
) -> None:
    names = ("temperature", "top_p", "reasoning_effort", "store", "stream_options", "frequency_penalty")
    names += ("logprobs", "presence_penalty", "logit_bias", "parallel_tool_calls", "seed")
    learnt, asked = learner(), dict.fromkeys(names, 1)
    lesson = refuse(learnt, asked, said(parameter, message, code))
    assert lesson is not None
    assert lesson.new
    (gone,) = asked.keys() - sent(learnt, dict.fromkeys(names, 2)).keys()
    assert lesson.line == f"models.m.takes: {{{gone}: no}}"
    assert sent(learnt, asked, "other") == asked, "another model may take it"


VALUES = [
    ("temperature", "Expected a value <= 2, but got 5 instead.", "decimal_above_max_value"),
    ("reasoning_effort", "'reasoning_effort' does not support 'minimal' with this model.", "unsupported_value"),
    ("reasoning_effort", "Function tools with reasoning_effort are not supported in /v1/chat/completions.", None),
    ("metadata", "The 'metadata' parameter is only allowed when 'store' is enabled.", None),
    ("temperature", "`temperature` and `top_p` cannot both be specified for this model.", None),
    ("top_p", "top_p is not supported when thinking is enabled", None),
]  # fmt: skip


@pytest.mark.parametrize(("parameter", "message", "code"), VALUES)
def test_a_value_that_is_refused_costs_no_other_request_its_parameter(
    parameter: str, message: str, code: str | None
) -> None:
    learnt = learner()
    assert refuse(learnt, {parameter: "v"}, said(parameter, message, code)) is not None
    assert sent(learnt, {parameter: "v"}) == {}
    assert sent(learnt, {parameter: "w"}) == {parameter: "w"}


@pytest.mark.parametrize(
    ("asked", "error", "then"),
    [
        (
            {"max_tokens": 5},
            said(
                "max_tokens",
                "Unsupported parameter: 'max_tokens' is not supported with this model."
                " Use 'max_completion_tokens' instead.",
                "unsupported_parameter",
            ),
            {"max_completion_tokens": 5},
        ),
        (
            {"max_completion_tokens": 5},
            said("max_completion_tokens", code="extra_forbidden"),
            {"max_tokens": 5},
        ),
        (
            {"user": "u"},
            said("user", "user is deprecated, use `safety_identifier` instead"),
            {"safety_identifier": "u"},
        ),
        ({"seed": 5}, said("seed", "unknown field seed; use random_seed instead"), {"random_seed": 5}),
    ],
)
def test_a_parameter_with_another_name_is_renamed(
    asked: dict[str, Any], error: ProviderError, then: dict[str, Any]
) -> None:
    learnt = learner()
    lesson = refuse(learnt, asked, error)
    assert lesson is not None
    assert sent(learnt, asked) == then
    ((name, new),) = zip(asked, then, strict=True)
    assert lesson.line == f"models.m.takes: {{{name}: {new}}}"


def test_an_output_limit_is_never_left_out() -> None:
    learnt = learner()
    assert refuse(learnt, {"max_tokens": 5}, said("max_tokens", code="unknown_parameter")) is not None
    again = said("max_completion_tokens", code="unknown_parameter")
    assert refuse(learnt, {"max_tokens": 5}, again) is None
    assert refuse(learnt, {"max_tokens": 5}, again) is None
    too_much = said("max_completion_tokens", "max_tokens is too large: 9. This model supports at most 4.")
    assert refuse(learner(), {"max_completion_tokens": 9}, too_much) is None


@pytest.mark.parametrize(
    "parameter",
    [
        "tools",
        "tool_choice",
        "functions",
        "response_format",
        "messages",
        "model",
        "stream",
        "n",
        "stop",
        "modalities",
    ],
)
def test_what_an_answer_depends_on_is_never_left_out(parameter: str) -> None:
    learnt, asked = learner(), {parameter: [1]}
    assert refuse(learnt, asked, said(parameter, code="unsupported_parameter")) is None
    assert sent(learnt, asked) == asked


@pytest.mark.parametrize("error", [None, said(""), said("temperature", code="unknown_parameter"), said("[")])
def test_a_refusal_of_what_was_not_sent_teaches_nothing(error: ProviderError | None) -> None:
    learnt = learner()
    assert learnt.learn("m", error, b'{"top_p":1}') is None
    assert sent(learnt, {"temperature": 1}) == {"temperature": 1}


@pytest.mark.parametrize(
    "error",
    [
        said("developer_role"),
        said("messages[0].role", "unknown variant `developer`, expected one of `system`, `user`"),
        said("messages.0.role", "'developer' is not one of ['system', 'user']"),
    ],
)
def test_the_role_developer_becomes_system_and_then_user(error: ProviderError) -> None:
    learnt = learner()
    lesson = refuse(learnt, {"messages": TALK}, error)
    assert lesson == Lesson("models.m.takes: {developer_role: system}", new=True)
    assert sent(learnt, {"messages": TALK})["messages"][0] == {"role": "system", "content": "x"}
    lesson = refuse(learnt, {"messages": TALK}, said("messages[0].role", "does not support 'system'"))
    assert lesson == Lesson("models.m.takes: {system_role: user}", new=True)
    assert sent(learnt, {"messages": TALK})["messages"][0]["role"] == "user"
    assert refuse(learnt, {"messages": TALK}, error) is None


def test_a_request_that_was_under_way_meanwhile_goes_again_and_is_not_told_twice() -> None:
    learnt, body = learner(), b'{"temperature":1}'
    error = said("temperature", code="unsupported_parameter")
    assert learnt.learn("m", error, body) == Lesson("models.m.takes: {temperature: no}", new=True)
    assert learnt.learn("m", error, body) == Lesson("models.m.takes: {temperature: no}", new=False)


def test_all_names_of_one_refusal_are_learnt_at_once() -> None:
    learnt = learner()
    message = 'Unknown name "frequency_penalty": Cannot find field. Unknown name "seed": Cannot find field.'
    lesson = refuse(learnt, {"frequency_penalty": 1, "seed": 1}, said("frequency_penalty", message))
    assert lesson == Lesson("models.m.takes: {frequency_penalty: no, seed: no}", new=True)
    assert sent(learnt, {"frequency_penalty": 1, "seed": 1, "top_p": 1}) == {"top_p": 1}


def test_what_is_learnt_stands_on_top_of_the_catalogue() -> None:
    learnt = learner({"seed": "random_seed", "top_p": True})
    lesson = refuse(learnt, {"seed": 1}, said("random_seed", code="unknown_parameter"))
    assert lesson == Lesson("models.m.takes: {seed: no}", new=True)
    assert sent(learnt, {"seed": 1, "random_seed": 2}) == {}
    assert refuse(learnt, {"top_p": 1}, said("top_p", code="unknown_parameter")) is not None
    assert sent(learnt, {"top_p": 1}) == {}
