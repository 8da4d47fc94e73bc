"""Adaptation of the parameters of a request by the rules of the catalogue."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from penstock.contract.reply import Adapted
from penstock.runtime.config.parameter_mapping import Only, SentAs
from services.worker.providers.parameters.adapt import AS_SENT, rules_of


def adapted(mapping: dict[str, SentAs], **requested: Any) -> tuple[dict[str, Any], tuple[Adapted, ...]]:
    fields = {name: Raw(json.dumps(value).encode()) for name, value in requested.items()}
    changes = rules_of(mapping, "why").apply(fields)
    return json.loads(msgspec.json.encode(fields)), changes


def expected_change(parameter: str, change: Any, sent: str = "") -> tuple[Adapted, ...]:
    return (Adapted(parameter=parameter, change=change, sent=sent, why="why"),)


@pytest.mark.parametrize(
    ("mapping", "requested", "sent", "change"),
    [
        (
            {"temperature": False},
            {"temperature": 0.3, "top_p": 1},
            {"top_p": 1},
            expected_change("temperature", "omitted"),
        ),
        ({"temperature": False}, {"temperature": None}, {}, ()),
        ({"temperature": True}, {"temperature": 0.3}, {"temperature": 0.3}, ()),
        ({"temperature": False}, {"top_p": 1}, {"top_p": 1}, ()),
        (
            {"seed": "random_seed"},
            {"seed": 7},
            {"random_seed": 7},
            expected_change("seed", "renamed", "random_seed"),
        ),
        ({"seed": "random_seed"}, {"seed": None}, {}, ()),
        (
            {"seed": "random_seed"},
            {"seed": 7, "random_seed": 8},
            {"random_seed": 8},
            expected_change("seed", "omitted"),
        ),
        (
            {"seed": "random_seed"},
            {"seed": 7, "random_seed": None},
            {"random_seed": 7},
            expected_change("seed", "renamed", "random_seed"),
        ),
        (
            {"temperature": Only(only=1)},
            {"temperature": 0.3},
            {"temperature": 1},
            expected_change("temperature", "replaced", "1"),
        ),
        ({"temperature": Only(only=1)}, {"temperature": 1}, {"temperature": 1}, ()),
        ({"temperature": Only(only=1)}, {}, {}, ()),
        ({"temperature": Only(only=1)}, {"temperature": None}, {"temperature": None}, ()),
    ],
)
def test_a_parameter_is_omitted_renamed_or_replaced(
    mapping: dict[str, SentAs], requested: dict[str, Any], sent: dict[str, Any], change: tuple[Adapted, ...]
) -> None:
    assert adapted(mapping, **requested) == (sent, change)


@pytest.mark.parametrize(
    ("requested", "limit", "change"),
    [
        ({"max_tokens": 100}, 100, "renamed"),
        ({"max_tokens": 100, "max_completion_tokens": 50}, 50, "omitted"),
        ({"max_tokens": 50, "max_completion_tokens": 100}, 50, "renamed"),
        ({"max_tokens": 50, "max_completion_tokens": None}, 50, "renamed"),
        ({"max_tokens": "many", "max_completion_tokens": 100}, 100, "omitted"),
    ],
)
def test_the_lower_of_two_output_limits_applies(requested: dict[str, Any], limit: int, change: str) -> None:
    body, changes = adapted({"max_tokens": "max_completion_tokens"}, **requested)
    assert body == {"max_completion_tokens": limit}
    assert [(each.parameter, each.change) for each in changes] == [("max_tokens", change)]


def test_only_the_role_of_a_message_is_replaced() -> None:
    talk = [
        {"role": "developer", "content": "Be brief, developer."},
        {"role": "user", "content": [{"type": "text", "text": "é"}], "name": "n"},
    ]
    body, changes = adapted({"developer_role": "system"}, messages=talk)
    assert body["messages"] == [talk[0] | {"role": "system"}, talk[1]]
    assert changes == expected_change("developer_role", "replaced", '"system"')


@pytest.mark.parametrize(
    "messages",
    [[{"role": "user", "content": "a developer"}], [], None, 7, [7, "developer"], [{"role": ["developer"]}]],
)
def test_other_messages_stay_unchanged(messages: Any) -> None:
    assert adapted({"developer_role": "system"}, messages=messages) == ({"messages": messages}, ())


def test_a_model_without_rules_is_sent_everything() -> None:
    fields = {"temperature": Raw(b"1"), "messages": Raw(b'[{"role":"developer"}]')}
    assert AS_SENT.apply(dict(fields)) == ()
