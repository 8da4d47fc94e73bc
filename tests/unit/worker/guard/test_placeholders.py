"""Placeholders in place of redacted values, and the values restored."""

from __future__ import annotations

import json

import pytest

from penstock.contract.guard.checks import Finding
from services.worker.guard.placeholders import JsonPosition, Placeholders, Restorer


def _finding(text: str, value: str, kind: str = "email") -> Finding:
    start = text.index(value)
    end = start + len(value)
    return Finding(start=start, end=end, category="personal_data", kind=kind, detector="personal_data")


def _replaced(placeholders: Placeholders, text: str, *values: str, kind: str = "email") -> str:
    return placeholders.replace(text, [_finding(text, value, kind) for value in values], of_request=True)


def test_g6_equal_values_have_equal_placeholders_in_all_texts() -> None:
    placeholders = Placeholders()
    assert _replaced(placeholders, "a@x.io and b@x.io", "a@x.io", "b@x.io") == "[EMAIL_1] and [EMAIL_2]"
    assert _replaced(placeholders, "again b@x.io", "b@x.io") == "again [EMAIL_2]"
    assert _replaced(placeholders, "call 555", "555", kind="phone") == "call [PHONE_1]"


def test_g6_a_placeholder_that_the_request_has_already_is_not_given_to_a_value() -> None:
    placeholders = Placeholders(["[EMAIL_1] is free", "write to a@x.io"])
    assert _replaced(placeholders, "write to a@x.io", "a@x.io") == "write to [EMAIL_2]"
    assert placeholders.restore("[EMAIL_1] [EMAIL_2]") == "[EMAIL_1] a@x.io"


def test_g6_values_of_the_answer_are_numbered_on_and_are_not_restored() -> None:
    placeholders = Placeholders()
    _replaced(placeholders, "a@x.io", "a@x.io")
    text = "a@x.io, c@x.io"
    redacted = placeholders.replace(text, [_finding(text, "a@x.io"), _finding(text, "c@x.io")])
    assert redacted == "[EMAIL_1], [EMAIL_2]"
    assert placeholders.restore(redacted) == "a@x.io, [EMAIL_2]"


def test_g6_a_finding_without_a_place_is_the_whole_text_and_overlaps_are_replaced_once() -> None:
    whole = Finding(category="secrets", kind="jwt", detector="secrets")
    assert Placeholders().replace("abc", [whole]) == "[JWT_1]"
    first = Finding(start=0, end=4, category="secrets", kind="jwt", detector="secrets")
    second = Finding(start=2, end=9, category="secrets", kind="npm_token", detector="secrets")
    assert Placeholders().replace("abcdefgh", [second, first]) == "[JWT_1][NPM_TOKEN_1]"


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ('{"to": "a@x.io"}', "a@x.io", '{"to": "[EMAIL_1]"}'),
        ('{"to": 4111}', "4111", '{"to": "[EMAIL_1]"}'),
        ('{"a\\"b": 4111}', "4111", '{"a\\"b": "[EMAIL_1]"}'),
        ('{"to": "a@x.io"}', '"a@x.io"', '{"to": "[EMAIL_1]"}'),
    ],
)
def test_g6_arguments_of_tool_calls_stay_json(text: str, value: str, expected: str) -> None:
    position = JsonPosition()
    assert Placeholders().replace(text, [_finding(text, value)], position=position) == expected
    assert not position.in_string
    json.loads(expected)


def test_g6_a_value_from_json_text_is_restored_unescaped_in_text_and_escaped_in_json_text() -> None:
    placeholders = Placeholders()
    arguments = json.dumps({"key": 'a"\nb'})
    finding = _finding(arguments, 'a\\"\\nb', "private_key")
    redacted = placeholders.replace(arguments, [finding], of_request=True, position=JsonPosition())
    assert redacted == '{"key": "[PRIVATE_KEY_1]"}'
    assert placeholders.restore("[PRIVATE_KEY_1]") == 'a"\nb'
    assert json.loads(placeholders.restore(redacted, json_text=True)) == {"key": 'a"\nb'}


@pytest.mark.parametrize("cut", range(12))
def test_g6_the_place_in_json_text_follows_from_the_text_however_it_is_cut(cut: int) -> None:
    text = '{"a\\\\\\"": "b'
    position = JsonPosition()
    position.read(text[:cut])
    position.read(text[cut:])
    assert position.in_string


def test_g6_a_streamed_answer_is_restored_and_only_the_beginning_of_a_placeholder_is_held_back() -> None:
    placeholders = Placeholders()
    _replaced(placeholders, "a@x.io", "a@x.io")
    restorer = Restorer(placeholders)
    pushed = ["see ", "[", "EMA", "IL_", "1]", " [EMAIL_2] [x] a[", "0] [EMAIL_", "1"]
    assert [restorer.push(each) for each in pushed] == [
        "see ",
        "",
        "",
        "",
        "a@x.io",
        " [EMAIL_2] [x] a",
        "[0] ",
        "",
    ]
    assert restorer.end() == "[EMAIL_1"
