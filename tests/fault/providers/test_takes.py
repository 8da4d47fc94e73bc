"""E1, A9: what the catalogue says of a model's parameters holds from the first call on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fault.providers.rows.table import Both, Outcome, Row, Table, check, params, ran
from tests.fault.providers.rows.wire import completion, delta, stream

HELLO = Both(stream(delta("Hello world"), delta(None, "stop")), completion())
TAKES = {
    "max_tokens": "max_completion_tokens",
    "temperature": False,
    "stream_options": False,
    "developer_role": "system",
}
PLAIN = "logic"
"""A lane whose models take everything."""


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
    row("what the worker adds itself", modes=("streamed",), last_sent={"stream_options": ...}, adapted={}),
    row(
        "developer",
        before=[{"role": "developer", "content": "Be short."}],
        adapted={"developer_role": "replaced"},
    ),
    row("nothing to change", body={"seed": 3}, last_sent={"seed": 3}, adapted={}),
    # The role adds temperature and max_tokens where the request says nothing.
    row(
        "what the role adds",
        lane="coding",
        last_sent={"temperature": ..., "max_tokens": ..., "max_completion_tokens": 77},
        adapted={"temperature": "omitted", "max_tokens": "renamed"},
    ),
    row(
        "a model that takes everything",
        lane=PLAIN,
        body={"max_tokens": 5, "temperature": 0.1},
        last_sent={"max_tokens": 5, "temperature": 0.1},
        adapted={},
    ),
    # After a failure the next model gets what it takes, and not what the first one takes.
    Row(
        name="the next model has its own",
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
        "chat-first": {"takes": TAKES},
        "coding-first": {"takes": TAKES},
        "fast-first": {"takes": TAKES},
    },
    roles={"coding": {"parameters": {"temperature": 0.4, "max_tokens": 77}}},
)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    with ran(TABLE, tmp_path_factory.mktemp("takes")) as done:
        yield done


@pytest.mark.parametrize("name", params(TABLE))
def test_e1_a_model_is_sent_what_it_takes(outcomes: dict[str, Outcome], name: str) -> None:
    check(outcomes[name])


def test_e1_the_developer_role_becomes_what_the_model_knows(outcomes: dict[str, Outcome]) -> None:
    [call] = outcomes["developer | whole"].calls[0]

    assert [message["role"] for message in call.body["messages"]] == ["system", "user"]
