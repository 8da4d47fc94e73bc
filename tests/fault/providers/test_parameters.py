"""E1, A9, D11: a refused parameter is left out, reported in the reply, and remembered only where others must know it.

Each row asks twice: the first request learns what the model does not take, the second one is answered with one call.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pytest

from tests.fault.providers.rows.table import Both, Outcome, Row, Table, check, params, ran
from tests.fault.providers.rows.wire import Answer, completion, delta, error, stream
from tests.harness.scripted_provider import Call, Part

HELLO = Both(stream(delta("Hello world"), delta(None, "stop")), completion())


class Learning(Row, frozen=True, kw_only=True):
    """A row whose provider refuses as long as a parameter is sent."""

    parameter: str
    """As the application names it."""
    change: str
    sent_as: str | None = None
    """The name under which the value is then sent."""
    again_without: int = 2
    """How many calls the first request takes at the first model."""


class Refusing:
    """Refuses whatever has the parameter, else answers; an answer for each call, made from what was sent."""

    def __init__(self, refusal: Answer | Callable[[Mapping[str, Any]], Answer], has: Any) -> None:
        """`refusal`: one answer, or made from the body."""
        self._refusal = refusal
        self._has = has

    def __call__(self, call: Call) -> Iterable[Part]:
        if self._has(call.body):
            return self._refusal(call.body) if callable(self._refusal) else self._refusal
        return HELLO.streamed if call.body.get("stream") else HELLO.whole


def refused(
    name: str,
    value: object,
    refusal: Answer,
    *,
    sent_as: str | None = None,
    parameter: str | None = None,
    **more: Any,
) -> Learning:
    """`name`: of the parameter; `parameter`: the row's own name where two have the same parameter."""
    return Learning(
        name=parameter or name,
        script={"first": [Refusing(refusal, lambda body: name in body)]},
        body={name: value},
        times=2,
        calls={"first": (1, 2)},
        parameter=name,
        change="renamed" if sent_as else "omitted",
        sent_as=sent_as,
        adapted={name: "renamed" if sent_as else "omitted"},
        last_sent={name: ..., **({sent_as: value} if sent_as else {})},
        **more,
    )


def openai(message: str, param: str, code: str = "unsupported_parameter") -> Answer:
    return error(
        400, {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}
    )


def extra(*names: str) -> list[dict[str, object]]:
    return [
        {
            "type": "extra_forbidden",
            "loc": ["body", name],
            "msg": "Extra inputs are not permitted",
            "input": 1,
        }
        for name in names
    ]


ROWS = (
    refused(
        "max_tokens",
        100,
        openai(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead.",
            "max_tokens",
        ),
        sent_as="max_completion_tokens",
    ),
    # copilot-api issue 164: the same words without param.
    refused(
        "max_tokens",
        100,
        error(
            400,
            {
                "error": {
                    "message": "Unsupported parameter: 'max_tokens' is not supported with "
                    "this model. Use 'max_completion_tokens' instead.",
                    "code": "invalid_request_body",
                }
            },
        ),
        sent_as="max_completion_tokens",
        parameter="max_tokens, named in the words",
        lane="logic",
    ),
    refused(
        "temperature",
        0.2,
        openai(
            "Unsupported value: 'temperature' does not support 0.2 with this model. Only the "
            "default (1) value is supported.",
            "temperature",
            "unsupported_value",
        ),
    ),
    refused(
        "top_p", 0.9, openai("Unsupported parameter: 'top_p' is not supported with this model.", "top_p")
    ),
    refused(
        "presence_penalty",
        0.1,
        error(
            400,
            {
                "code": "Client specified an invalid argument",
                "error": "Argument not supported on this model: presencePenalty",
            },
        ),
        parameter="presence_penalty in camel case",
    ),  # xAI
    refused(
        "logit_bias",
        {"1": 2},
        error(
            400,
            {
                "error": {
                    "message": "logit_bias is not supported with this model",
                    "type": "invalid_request_error",
                    "param": "logit_bias",
                }
            },
        ),
    ),
    # Mistral and FastAPI: pydantic's list, in detail (openclaude 739), in message (eca 231), or as JSON in it (docs 7).
    refused(
        "service_tier", "auto", error(422, {"detail": extra("service_tier")}), parameter="extra, in detail"
    ),
    refused(
        "seed",
        7,
        error(
            422,
            {
                "object": "error",
                "message": {"detail": extra("seed")},
                "type": "invalid_request_error",
                "param": None,
                "code": None,
            },
        ),
        parameter="extra, in the message",
    ),
    refused(
        "frequency_penalty",
        0.5,
        error(
            422,
            {
                "object": "error",
                "message": json.dumps({"detail": extra("frequency_penalty")}),
                "type": "internal_error_proxy",
                "param": None,
                "code": "1000",
            },
        ),
        parameter="extra, as text",
    ),
    refused(
        "top_logprobs",
        2,
        error(
            400,
            [
                {
                    "error": {
                        "code": 400,
                        "message": "Invalid JSON payload received. Unknown name "
                        '"top_logprobs": Cannot find field.',
                        "status": "INVALID_ARGUMENT",
                    }
                }
            ],
        ),
    ),  # Gemini
    refused(
        "reasoning_effort",
        "low",
        openai(
            "Unrecognized request argument supplied: reasoning_effort",
            "reasoning_effort",
            "unknown_parameter",
        ),
    ),
    refused(
        "parallel_tool_calls",
        False,
        error(
            400,
            {
                "error": {
                    "message": "property 'parallel_tool_calls' is unsupported",
                    "type": "invalid_request_error",
                }
            },
        ),
    ),  # Groq
    Learning(
        name="stream_options",
        modes=("streamed",),
        script={
            "first": [
                Refusing(
                    error(422, {"detail": extra("stream_options")}), lambda body: "stream_options" in body
                )
            ]
        },
        times=2,
        calls={"first": (1, 2)},
        parameter="stream_options",
        change="omitted",
        last_sent={"stream_options": ...},
    ),
    Learning(
        name="two parameters",
        script={
            "first": [
                Refusing(
                    lambda body: error(
                        422, {"detail": extra(*(name for name in ("store", "metadata") if name in body))}
                    ),
                    lambda body: "store" in body or "metadata" in body,
                )
            ]
        },
        body={"store": False, "metadata": {"a": "b"}},
        times=2,
        calls={"first": (1, 3)},
        parameter="store",
        change="omitted",
        again_without=3,
        adapted={"store": "omitted", "metadata": "omitted"},
        last_sent={"store": ..., "metadata": ...},
    ),
)


def has_developer(body: Mapping[str, Any]) -> bool:
    return any(message["role"] == "developer" for message in body["messages"])


def developer(name: str, refusal: Answer) -> Learning:
    return Learning(
        name=f"developer, {name}",
        script={"first": [Refusing(refusal, has_developer)]},
        times=2,
        before=[{"role": "developer", "content": "Be short."}],
        calls={"first": (1, 2)},
        parameter="developer_role",
        change="replaced",
        adapted={"developer_role": "replaced"},
    )


DEVELOPER = (
    developer(
        "openai",
        openai(
            "Unsupported value: 'messages[0].role' does not support 'developer' with this model.",
            "messages[0].role",
            "unsupported_value",
        ),
    ),
    developer(
        "deepseek",
        error(
            400,
            {
                "error": {
                    "message": "Failed to deserialize the JSON body into the target type: "
                    "messages[0].role: unknown variant `developer`, expected one of `system`, `user`, "
                    "`assistant`, `tool` at line 1 column 40",
                    "type": "invalid_request_error",
                    "param": None,
                    "code": "invalid_request_error",
                }
            },
        ),
    ),
    developer(
        "vllm",
        error(
            400,
            {
                "object": "error",
                "message": "Unexpected message role: developer",
                "code": 400,
                "type": "BadRequestError",
                "param": None,
            },
        ),
    ),
)

NOT_LEARNED = (
    # What the answer depends on is never left out: the next model answers.
    Row(
        name="tools",
        script={
            "first": [openai("Unsupported parameter: 'tools' is not supported with this model.", "tools")]
        },
        body={"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]},
        text="from second",
        model="second",
        calls={"first": 1, "second": 1},
    ),
    Row(
        name="response_format",
        script={
            "first": [
                openai(
                    "Invalid parameter: 'response_format' of type 'json_schema' is not "
                    "supported with this model.",
                    "response_format",
                    "unsupported_value",
                )
            ]
        },
        body={"response_format": {"type": "json_object"}},
        text="from second",
        model="second",
        calls={"first": 1, "second": 1},
    ),
    Row(
        name="messages",
        script={
            "first": [
                openai(
                    "Invalid value: 'x'. Supported values are: 'system', 'user'.",
                    "messages[0]",
                    "invalid_value",
                )
            ]
        },
        text="from second",
        model="second",
        calls={"first": 1, "second": 1},
    ),
    Row(
        name="model",
        script={"first": [openai("Invalid value for 'model'.", "model", "invalid_value")]},
        text="from second",
        model="second",
        calls={"first": 1, "second": 1},
    ),
    Row(
        name="stop",
        script={
            "first": [
                error(
                    400,
                    {
                        "code": "Client specified an invalid argument",
                        "error": "Argument not supported on this model: stop",
                    },
                )
            ]
        },
        body={"stop": ["END"]},
        text="from second",
        model="second",
        calls={"first": 1, "second": 1},
    ),
    Row(
        name="a parameter that was not sent",
        script={"first": [openai("Unsupported parameter: 'seed'.", "seed")]},
        text="from second",
        model="second",
        calls={"first": 1, "second": 1},
        lane="safety",
    ),
)

TABLE = Table(rows=(*ROWS, *DEVELOPER, *NOT_LEARNED))


def within(path: str, value: Mapping[str, Any], refusal: Answer, **more: Any) -> Row:
    """A refusal of one key within a parameter, by a provider that takes the others."""
    name, key = path.split(".")
    rest = {each: held for each, held in value.items() if each != key}
    return Row(
        name=path,
        script={"first": [Refusing(refusal, lambda body: key in body.get(name, {}))]},
        body={name: value},
        times=4,
        calls={"first": 2},
        adapted={path if rest else name: "omitted"},
        last_sent={name: rest or ...},
        neighbour_body={name: rest or {"7": 1}},
        **more,
    )


def told(message: str, **more: Any) -> Answer:
    fields = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return error(400, {"error": fields | more})


def old_limit_then_new(body: Mapping[str, Any]) -> Answer:
    if "max_tokens" in body:
        return told("Failed to load the image: max_tokens is not supported")
    return error(422, {"detail": extra("max_completion_tokens")})


ALONE = (
    within(
        "stream_options.foo",
        {"include_usage": True, "foo": 1},
        openai("Unknown parameter: 'stream_options.foo'.", "stream_options.foo", "unknown_parameter"),
        modes=("streamed",),
    ),
    within(
        "reasoning.foo",
        {"foo": 1, "effort": "high"},
        told("reasoning.foo: Extra inputs are not permitted"),
    ),
    within(
        "thinking.foo",
        {"type": "enabled", "budget_tokens": 1024, "foo": 1},
        error(
            400,
            {
                "type": "error",
                "error": {
                    "type": "invalid_request_error",
                    "message": "thinking.foo: Extra inputs are not permitted",
                },
            },
        ),
    ),
    within(
        "metadata.x",
        {"x": "1", "y": "2"},
        openai("Unknown parameter: 'metadata.x'.", "metadata.x", "unknown_parameter"),
    ),
    within(
        "logit_bias.123",
        {"123": 1},
        openai("Unsupported parameter: 'logit_bias.123'.", "logit_bias.123"),
    ),
    Row(
        name="text that speaks of temperature",
        script={
            "first": [
                told("Invalid value: 'temperature is not supported'. Supported values are: 'auto', 'none'.")
            ]
        },
        body={"temperature": 0.3, "tool_choice": "temperature is not supported"},
        times=4,
        text="from second",
        model="second",
        calls={"first": 1, "second": 1},
        neighbour_body={"temperature": 0.3},
    ),
    Row(
        name="an address that speaks of reasoning_effort",
        script={
            "first": [
                Refusing(
                    told("Failed to load 'https://x/reasoning_effort is not supported'"),
                    lambda body: "reasoning_effort" in body,
                )
            ]
        },
        body={"reasoning_effort": "low", "metadata": {"a": "https://x/reasoning_effort is not supported"}},
        times=4,
        model="second",
        text="from second",
        calls={"first": 1, "second": 1},
        neighbour_body={"reasoning_effort": "low"},
    ),
    Row(
        name="a new name that the provider does not know",
        script={
            "first": [
                Refusing(
                    old_limit_then_new, lambda body: "max_tokens" in body or "max_completion_tokens" in body
                )
            ]
        },
        body={"max_tokens": 50},
        times=4,
        text="from second",
        model="second",
        calls={"first": 2, "second": 1},
        neighbour_body={"max_tokens": 50},
    ),
    Row(
        name="a refusal for what stands beside it",
        script={
            "first": [
                Refusing(
                    openai("Unsupported parameter: 'top_p' is not supported with reasoning.", "top_p"),
                    lambda body: "top_p" in body,
                )
            ]
        },
        body={"top_p": 0.5},
        times=4,
        calls={"first": 2},
        adapted={"top_p": "omitted"},
        neighbour_body={"top_p": 0.5},
    ),
    Row(
        name="five parameters one after the other",
        script={
            model: [
                lambda call: next(
                    (
                        openai(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
                        for name in call.body
                        if name.startswith(("top_", "s"))
                        and name not in {"stream", "stream_options"}
                        and name != "stop"
                    ),
                    HELLO.streamed if call.body.get("stream") else HELLO.whole,
                )
            ]
            for model in ("first", "second", "long")
        },
        body={"top_k": 1, "top_a": 1, "top_logprobs": 1, "seed": 1, "store": True},
        modes=("streamed",),
        lane="safety",
        code="provider_refused",
        calls={"first": 5, "second": 1, "long": 1},
        neighbour=None,
    ),
)
ALONE_TABLE = Table(rows=ALONE)
"""What one request meets with, and no other."""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    with ran(TABLE, tmp_path_factory.mktemp("parameters")) as done:
        yield done


@pytest.mark.parametrize("name", params(TABLE))
def test_e1_a_refused_parameter_is_left_out_and_remembered(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcomes[name]
    check(outcome)
    if not isinstance(outcome.row, Learning):
        return
    made = [len(calls) for calls in outcome.calls]
    assert made[1] == 1, f"calls of each request: {made}"
    if outcome.mode == outcome.row.modes[0]:
        assert 2 <= made[0] <= outcome.row.again_without, f"calls of each request: {made}"


@pytest.fixture(scope="module")
def outcomes_alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    with ran(ALONE_TABLE, tmp_path_factory.mktemp("parameters_alone")) as done:
        yield done


@pytest.mark.parametrize("name", params(ALONE_TABLE))
def test_d11_what_one_request_meets_with_changes_no_other(
    outcomes_alone: dict[str, Outcome], name: str
) -> None:
    check(outcomes_alone[name])
