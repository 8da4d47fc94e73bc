"""F2, A9: the usage that providers report is read field by field or estimated, and never shown as 0."""

from __future__ import annotations

import pytest

from tests.fault.worker.providers.rows.table import Both, Outcome, Row, Table, check, row_ids
from tests.fault.worker.providers.rows.wire import completion, delta, stream


def with_usage(usage: object) -> Both:
    """A stream with usage in its last chunk, which has no choices, and a whole completion."""
    return Both(
        stream(delta("Hello "), delta("world"), delta(None, "stop"), {"choices": [], "usage": usage}),
        completion("Hello world", usage=usage),
    )


def row(name: str, usage: object, *, estimated: bool = False, **fields: int) -> Row:
    return Row(name=name, script={"first": [with_usage(usage)]}, usage=fields, estimated=estimated)


PLAIN = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}

ROWS = (
    row("plain", PLAIN, input_tokens=11, output_tokens=7),
    row("floats", {"prompt_tokens": 11.0, "completion_tokens": 7.0}, input_tokens=11, output_tokens=7),
    row(
        "numbers as text", {"prompt_tokens": "11", "completion_tokens": "7"}, input_tokens=11, output_tokens=7
    ),
    # xAI excludes reasoning from completion_tokens; total_tokens has both (docs.x.ai, reasoning).
    row(
        "reasoning outside of completion_tokens",
        {
            "prompt_tokens": 11,
            "completion_tokens": 7,
            "total_tokens": 138,
            "completion_tokens_details": {"reasoning_tokens": 120},
        },
        input_tokens=11,
        output_tokens=127,
        reasoning_tokens=120,
    ),
    row(
        "an absurd total",
        {"prompt_tokens": 11, "completion_tokens": 2, "total_tokens": 99_999_999},
        input_tokens=11,
        output_tokens=2,
        estimated=True,
    ),
    # Gemini, OpenAI-compatible: completion_tokens exclude thoughts, which have no field (CLIProxyAPI issue 5733).
    row(
        "thoughts only in the total",
        {"prompt_tokens": 21, "completion_tokens": 0, "total_tokens": 81},
        input_tokens=21,
        output_tokens=60,
    ),
    row(
        "reasoning inside completion_tokens",
        {**PLAIN, "completion_tokens_details": {"reasoning_tokens": 5}},
        input_tokens=11,
        output_tokens=7,
        reasoning_tokens=5,
    ),
    row(
        "details are null",
        {**PLAIN, "prompt_tokens_details": None, "completion_tokens_details": None},
        input_tokens=11,
        output_tokens=7,
    ),
    row(
        "cached as text",
        {**PLAIN, "prompt_tokens_details": {"cached_tokens": "4", "audio_tokens": None}},
        input_tokens=11,
        output_tokens=7,
        cached_input_tokens=4,
    ),
    row(
        "cost and further keys",  # OpenRouter, usage accounting
        {**PLAIN, "cost": 0.00014, "is_byok": False, "cost_details": {"upstream_inference_cost": None}},
        input_tokens=11,
        output_tokens=7,
    ),
    row(
        "one invalid field",
        {"prompt_tokens": 11, "completion_tokens": "many"},
        estimated=True,
        input_tokens=11,
    ),
    row("output is null", {"prompt_tokens": 11, "completion_tokens": None}, estimated=True, input_tokens=11),
    row("input is missing", {"completion_tokens": 7}, estimated=True, output_tokens=7),
    row("input is -1", {"prompt_tokens": -1, "completion_tokens": 7}, estimated=True, output_tokens=7),
    row("output is 2^63", {"prompt_tokens": 11, "completion_tokens": 2**63}, estimated=True, input_tokens=11),
    row("all negative", {"prompt_tokens": -5, "completion_tokens": -7, "total_tokens": -12}, estimated=True),
    row("-2^63", {"prompt_tokens": -(2**63), "completion_tokens": 7}, estimated=True, output_tokens=7),
    row(
        "a float of 1e300", {"prompt_tokens": 11, "completion_tokens": 1e300}, estimated=True, input_tokens=11
    ),
    row(
        "more than ten contexts of the model",
        {"prompt_tokens": 11, "completion_tokens": 50_000_000, "total_tokens": 50_000_011},
        estimated=True,
        input_tokens=11,
    ),
    row("null", None, estimated=True),
    row("empty", {}, estimated=True),
    row("a list", [], estimated=True),
    row("all zero", {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, estimated=True),
    # vLLM with continuous_usage_stats, Together, xAI: usage on every chunk, of which the last counts.
    Row(
        name="on every chunk",
        modes=("streamed",),
        script={
            "first": [
                stream(
                    delta("Hello ", top={"usage": {"prompt_tokens": 11, "completion_tokens": 1}}),
                    delta("world", top={"usage": {"prompt_tokens": 11, "completion_tokens": 4}}),
                    delta(None, "stop", top={"usage": PLAIN}),
                )
            ]
        },
        usage={"input_tokens": 11, "output_tokens": 7},
        estimated=False,
    ),
    # Groq before it supported stream_options.
    Row(
        name="under x_groq",
        modes=("streamed",),
        script={
            "first": [stream(delta("Hello world"), delta(None, "stop", top={"x_groq": {"usage": PLAIN}}))]
        },
        usage={"input_tokens": 11, "output_tokens": 7},
        estimated=False,
    ),
    Row(
        name="usage without choices",
        modes=("streamed",),
        script={"first": [stream(delta("Hello world"), delta(None, "stop"), {"usage": PLAIN})]},
        usage={"input_tokens": 11, "output_tokens": 7},
        estimated=False,
    ),
    Row(
        name="usage before the end",  # Mistral on Azure: the finish reason comes last
        modes=("streamed",),
        script={"first": [stream(delta("Hello world"), {"choices": [], "usage": PLAIN}, delta("", "stop"))]},
        usage={"input_tokens": 11, "output_tokens": 7},
        estimated=False,
    ),
    Row(
        name="no usage at all",
        script={
            "first": [
                Both(stream(delta("Hello world"), delta(None, "stop")), completion("Hello world", usage=None))
            ]
        },
        estimated=True,
    ),
)
TABLE = Table(rows=ROWS)


@pytest.mark.parametrize("name", row_ids(TABLE))
def test_f2_usage_is_read_in_every_form_or_estimated(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcomes[name]
    check(outcome)
    usage = outcome.received[0].completed.usage
    assert usage.input_tokens > 0
    assert usage.output_tokens > 0
