"""No text moves the cursor, recolours or retitles the terminal (D10)."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.render.terminal_safe import all_visible, as_ascii_json, visible

HARMLESS = "Grüße, 東京\u3000です\tЖ 👩\u200d🔬 می\u200cخواهم\n10\u00a0000\u202f€ ﬁ — „“"


class Named(msgspec.Struct, frozen=True):
    name: str
    age_s: float = 0.5
    parts: tuple[str, ...] = ()
    counts: dict[str, int] = {}


class Passed(msgspec.Struct):
    body: msgspec.Raw


@given(st.text())
def test_control_and_bidirectional_characters_are_escaped(text: str):
    for letter in visible(text, lines=True):
        assert letter in "\n\t" or letter >= " "
        assert not "\x7f" <= letter <= "\x9f"
        assert letter not in "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    assert visible(text).isprintable()


def test_printable_text_is_unchanged():
    assert visible(HARMLESS, lines=True) == HARMLESS
    assert visible("one\r\ntwo\rthree", lines=True) == "one\ntwo\\x0dthree"


def test_every_string_of_a_struct_is_made_visible():
    made = all_visible(Named("a\x1b[31m\nb", parts=("\x9b2J",), counts={"\u202e": 3}))
    assert made == Named("a\\x1b[31m\\x0ab", parts=("\\x9b2J",), counts={"\\u202e": 3})


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.floats(allow_nan=False)))
def test_json_is_one_line_of_ascii_with_the_same_value(value: dict[str, float]):
    text = as_ascii_json(value)
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text) == msgspec.json.decode(msgspec.json.encode(value))


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a":\r\n\t1}', {"a": 1}),
        ('{"a": "\x7f\x9b\U0001f600"}'.encode(), {"a": "\x7f\x9b\U0001f600"}),
        (b'{"a": "\xff"}', {"a": "\ufffd"}),
    ],
)
def test_raw_json_is_escaped_too(body: bytes, value: object):
    text = as_ascii_json(Passed(msgspec.Raw(body)))
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text) == {"body": value}


def test_json_for_a_person_is_indented_and_still_ascii():
    text = as_ascii_json({"a": ["é"]}, indented=True)
    assert text.splitlines()[1].startswith("  ")
    assert text.isascii()
