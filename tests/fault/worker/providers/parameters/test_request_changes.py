"""D11: a refusal that concerns one request changes no other request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.fault.worker.providers.rows.parameter_refusals import HELLO, Refusing, extra_inputs, openai_refusal
from tests.fault.worker.providers.rows.table import Outcome, Row, Table, check, row_ids
from tests.fault.worker.providers.rows.wire import Answer, error


def within(path: str, value: Mapping[str, Any], refusal: Answer, **more: Any) -> Row:
    """A refusal of one key within a parameter, by a provider that accepts the other keys."""
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


def rejection(message: str, **more: Any) -> Answer:
    fields = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return error(400, {"error": fields | more})


def old_limit_then_new(body: Mapping[str, Any]) -> Answer:
    if "max_tokens" in body:
        return rejection("Failed to load the image: max_tokens is not supported")
    return error(422, {"detail": extra_inputs("max_completion_tokens")})


ROWS = (
    within(
        "stream_options.foo",
        {"include_usage": True, "foo": 1},
        openai_refusal("Unknown parameter: 'stream_options.foo'.", "stream_options.foo", "unknown_parameter"),
        modes=("streamed",),
    ),
    within(
        "reasoning.foo",
        {"foo": 1, "effort": "high"},
        rejection("reasoning.foo: Extra inputs are not permitted"),
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
        openai_refusal("Unknown parameter: 'metadata.x'.", "metadata.x", "unknown_parameter"),
    ),
    within(
        "logit_bias.123",
        {"123": 1},
        openai_refusal("Unsupported parameter: 'logit_bias.123'.", "logit_bias.123"),
    ),
    Row(
        name="a text that contains temperature",
        script={
            "first": [
                rejection(
                    "Invalid value: 'temperature is not supported'. Supported values are: 'auto', 'none'."
                )
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
        name="a URL that contains reasoning_effort",
        script={
            "first": [
                Refusing(
                    rejection("Failed to load 'https://x/reasoning_effort is not supported'"),
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
        name="a new name that the provider refuses",
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
        name="a refused combination of parameters",
        script={
            "first": [
                Refusing(
                    openai_refusal(
                        "Unsupported parameter: 'top_p' is not supported with reasoning.", "top_p"
                    ),
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
                        openai_refusal(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
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
TABLE = Table(rows=ROWS)


@pytest.mark.parametrize("name", row_ids(TABLE))
def test_d11_a_refusal_of_one_request_changes_no_other(outcomes: dict[str, Outcome], name: str) -> None:
    check(outcomes[name])
