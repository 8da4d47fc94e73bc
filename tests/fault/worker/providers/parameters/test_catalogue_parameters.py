"""E1, A9: the rules of the catalogue for a model's parameters apply from the first call on."""

from __future__ import annotations

import pytest

from penstock.contract.reply import Started
from tests.fault.worker.providers.rows.table import Both, Outcome, Row, Table, check, row_ids
from tests.fault.worker.providers.rows.wire import completion, delta, stream

HELLO = Both(stream(delta("Hello world"), delta(None, "stop")), completion())
MAPPING = {
    "max_tokens": "max_completion_tokens",
    "temperature": False,
    "stream_options": False,
    "developer_role": "system",
}
PLAIN = "logic"
"""A lane whose models have no rules."""


def row(name: str, **more: object) -> Row:
    return Row(name=name, script={"first": [HELLO]}, **{"lane": "chat", **more})


ROWS = (
    row(
        "renamed",
        body={"max_tokens": 50},
        last_sent={"max_tokens": ..., "max_completion_tokens": 50},
        adapted={"max_tokens": "renamed"},
    ),
    row(
        "omitted",
        body={"temperature": 0.3, "top_p": 0.5},
        last_sent={"temperature": ..., "top_p": 0.5},
        adapted={"temperature": "omitted"},
    ),
    row(
        "several",
        body={"temperature": 0.3, "max_tokens": 9, "seed": 1},
        last_sent={"temperature": ..., "max_tokens": ..., "max_completion_tokens": 9, "seed": 1},
        adapted={"temperature": "omitted", "max_tokens": "renamed"},
    ),
    row(
        "both names sent",
        body={"max_tokens": 9, "max_completion_tokens": 8},
        last_sent={"max_tokens": ..., "max_completion_tokens": 8},
    ),
    row(
        "no stream options",
        modes=("streamed",),
        last_sent={"stream_options": ...},
        adapted={},
        estimated=True,
    ),
    row(
        "developer",
        before=[{"role": "developer", "content": "Be short."}],
        adapted={"developer_role": "replaced"},
    ),
    row(
        "parameters and a role",
        before=[{"role": "developer", "content": "Be short."}],
        body={"max_tokens": 20, "temperature": 0.1},
        last_sent={"temperature": ..., "max_tokens": ..., "max_completion_tokens": 20},
    ),
    row("nothing to change", body={"seed": 3}, last_sent={"seed": 3}, adapted={}),
    # The role adds temperature and max_tokens to a request without them.
    row(
        "parameters of the role",
        lane="coding",
        last_sent={"temperature": ..., "max_tokens": ..., "max_completion_tokens": 77},
        adapted={"temperature": "omitted", "max_tokens": "renamed"},
    ),
    row(
        "a model without rules",
        lane=PLAIN,
        body={"max_tokens": 5, "temperature": 0.1},
        last_sent={"max_tokens": 5, "temperature": 0.1},
        adapted={},
    ),
    # After a failure the rules of the next model apply, not those of the first.
    Row(
        name="rules of the next model",
        lane="fast",
        script={"first": [(b"HTTP/1.1 400 No\r\nContent-Length: 2\r\n\r\n{}",)], "second": [HELLO]},
        body={"max_tokens": 5},
        model="second",
        calls={"first": 1, "second": 1},
        last_sent={"max_tokens": 5},
        adapted={},
    ),
)

TABLE = Table(
    rows=ROWS,
    models={
        "chat-first": {"parameter_mapping": MAPPING},
        "coding-first": {"parameter_mapping": MAPPING},
        "fast-first": {"parameter_mapping": MAPPING},
    },
    roles={"coding": {"parameters": {"temperature": 0.4, "max_tokens": 77}}},
)


@pytest.mark.parametrize("name", row_ids(TABLE))
def test_e1_a_body_follows_the_rules_of_the_model(outcomes: dict[str, Outcome], name: str) -> None:
    check(outcomes[name])


def test_e1_the_developer_role_is_replaced(outcomes: dict[str, Outcome]) -> None:
    [call] = outcomes["developer | whole"].calls[0]

    assert [message["role"] for message in call.body["messages"]] == ["system", "user"]


@pytest.mark.parametrize("mode", ["streamed", "whole"])
def test_e1_all_changes_are_reported_in_started_and_completed(
    outcomes: dict[str, Outcome], mode: str
) -> None:
    [received] = outcomes[f"parameters and a role | {mode}"].received

    adapted = received.completed.adapted
    assert [(each.parameter, each.change, each.sent) for each in adapted] == [
        ("max_tokens", "renamed", "max_completion_tokens"),
        ("temperature", "omitted", ""),
        ("developer_role", "replaced", '"system"'),
    ]
    assert [event.adapted for event in received.events if isinstance(event, Started)] == [adapted]


def test_a_stream_without_stream_options_has_an_estimated_cost(outcomes: dict[str, Outcome]) -> None:
    [received] = outcomes["no stream options | streamed"].received

    assert (received.completed.estimated, received.completed.cost_microusd) == (True, 0)
