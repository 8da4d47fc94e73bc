"""E1, A9: a refused parameter is omitted, reported in the reply, and learned for later requests to the model.

Each row sends a request twice: the refusal of the first is learned, and the second takes one call.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fault.worker.providers.rows.parameter_refusals import Refusing, extra_inputs, openai_refusal
from tests.fault.worker.providers.rows.table import Outcome, Row, Table, check, row_ids
from tests.fault.worker.providers.rows.wire import Answer, error


class Learning(Row, frozen=True, kw_only=True):
    """A row whose provider refuses a parameter."""

    parameter: str
    """The name that the application uses."""
    change: str
    sent_as: str | None = None
    """The name under which the value is then sent."""
    first_calls: int = 2
    """The most calls that the first request makes to the first model."""


def refused(
    name: str,
    value: object,
    refusal: Answer,
    *,
    sent_as: str | None = None,
    row_name: str | None = None,
    **more: Any,
) -> Learning:
    """`name`: the parameter. `row_name`: a name for the row where two rows have the same parameter."""
    return Learning(
        name=row_name or name,
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


ROWS = (
    refused(
        "max_tokens",
        100,
        openai_refusal(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead.",
            "max_tokens",
        ),
        sent_as="max_completion_tokens",
    ),
    # copilot-api issue 164: the same message without param.
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
        row_name="max_tokens, only in the message",
        lane="logic",
    ),
    refused(
        "temperature",
        0.2,
        openai_refusal(
            "Unsupported value: 'temperature' does not support 0.2 with this model. Only the "
            "default (1) value is supported.",
            "temperature",
            "unsupported_value",
        ),
    ),
    refused(
        "top_p",
        0.9,
        openai_refusal("Unsupported parameter: 'top_p' is not supported with this model.", "top_p"),
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
        row_name="presence_penalty in camel case",
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
        "service_tier",
        "auto",
        error(422, {"detail": extra_inputs("service_tier")}),
        row_name="extra input, in detail",
    ),
    refused(
        "seed",
        7,
        error(
            422,
            {
                "object": "error",
                "message": {"detail": extra_inputs("seed")},
                "type": "invalid_request_error",
                "param": None,
                "code": None,
            },
        ),
        row_name="extra input, in the message",
    ),
    refused(
        "frequency_penalty",
        0.5,
        error(
            422,
            {
                "object": "error",
                "message": json.dumps({"detail": extra_inputs("frequency_penalty")}),
                "type": "internal_error_proxy",
                "param": None,
                "code": "1000",
            },
        ),
        row_name="extra input, as text",
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
        openai_refusal(
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
                    error(422, {"detail": extra_inputs("stream_options")}),
                    lambda body: "stream_options" in body,
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
                        422,
                        {"detail": extra_inputs(*(name for name in ("store", "metadata") if name in body))},
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
        first_calls=3,
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


ONE_AFTER_THE_OTHER = Learning(
    name="two parameters, refused one after the other",
    lane="reasoning",
    script={
        "first": [
            Refusing(
                lambda body: openai_refusal(
                    f"Unsupported parameter: '{_first_of(body)}' is not supported with this model.",
                    _first_of(body),
                ),
                lambda body: "temperature" in body or "max_tokens" in body,
            )
        ]
    },
    body={"temperature": 0.2, "max_tokens": 100},
    times=3,
    calls={"first": (1, 3)},
    parameter="temperature",
    change="omitted",
    first_calls=3,
    adapted={"temperature": "omitted", "max_tokens": "renamed"},
    last_sent={"temperature": ..., "max_tokens": ..., "max_completion_tokens": 100},
)


def _first_of(body: Mapping[str, Any]) -> str:
    return "temperature" if "temperature" in body else "max_tokens"


DEVELOPER = (
    developer(
        "openai",
        openai_refusal(
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

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
NOT_LEARNED = (
    # An essential field is never omitted: the next model answers.
    Row(
        name="tools",
        script={
            "first": [
                openai_refusal("Unsupported parameter: 'tools' is not supported with this model.", "tools")
            ]
        },
        body={"tools": TOOLS},
        last_sent={"tools": TOOLS},
        text="from second",
        model="second",
        calls={"first": 1, "second": 1},
    ),
    Row(
        name="response_format",
        script={
            "first": [
                openai_refusal(
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
                openai_refusal(
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
        script={"first": [openai_refusal("Invalid value for 'model'.", "model", "invalid_value")]},
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
        script={"first": [openai_refusal("Unsupported parameter: 'seed'.", "seed")]},
        text="from second",
        model="second",
        calls={"first": 1, "second": 1},
        lane="safety",
    ),
)

TABLE = Table(rows=(*ROWS, ONE_AFTER_THE_OTHER, *DEVELOPER, *NOT_LEARNED))


@pytest.mark.parametrize("name", row_ids(TABLE))
def test_e1_a_refused_parameter_is_omitted_and_learned(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcomes[name]
    check(outcome)
    if not isinstance(outcome.row, Learning):
        return
    made = [len(calls) for calls in outcome.calls]
    assert made[1] == 1, f"calls of each request: {made}"
    if outcome.mode == outcome.row.modes[0]:
        assert 2 <= made[0] <= outcome.row.first_calls, f"calls of each request: {made}"


@pytest.mark.parametrize("line", ["{temperature: no}", "{max_tokens: max_completion_tokens}"])
def test_a9_a_learned_parameter_is_logged_once(
    outcomes: dict[str, Outcome], directory: Path, line: str
) -> None:
    assert outcomes
    [log] = directory.glob("worker-*.log")
    assert log.read_text(encoding="utf-8").count(f"models.reasoning-first.parameter_mapping: {line}") == 1
