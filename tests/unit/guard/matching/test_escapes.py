"""Values behind escape sequences, as in JSON text and string literals, are found whole and alone."""

from __future__ import annotations

import itertools
import json
import random

import pytest

from penstock.contract.guard.policies import KINDS
from penstock.runtime.guard.escapes import Unescaped
from tests.harness.guard.findings import Both, found_in
from tests.harness.guard.synthetic_values import synthetic

MAIL = "anna.berg@river-mill.org"
TOKEN = synthetic("npm_token", random.Random(3))
SEPARATORS = (" ", "\n", "\t", "\r\n", '"', "/", "é ", "😀", "\n\n", "\u2028")
NAMES = {
    "us_ssn": "SSN",
    "ru_inn": "ИНН",
    "ru_passport": "паспорт",
    "ru_snils": "СНИЛС",
    "tr_tckn": "TC kimlik",
    "phone": "phone",
    "generic_secret": "password:",
}


@pytest.fixture(scope="module")
def both(secret_detector, personal_data_detector) -> Both:
    return Both(secret_detector, personal_data_detector)


def values_in(both: Both, text: str) -> list[str]:
    return [text[start:end] for start, end, _ in both.places(text, lambda _: True)]


@pytest.mark.parametrize(
    "kind", [kind for kinds in KINDS.values() for kind in kinds if kind != "other_secret"]
)
@pytest.mark.parametrize("times", [1, 2, 3])
def test_g6_a_value_in_json_text_is_found_as_in_plain_text(both: Both, kind: str, times: int):
    rng = random.Random(f"{kind} {times}")
    for separator in SEPARATORS:
        plain = f"{NAMES.get(kind, 'Value:')}{separator}{synthetic(kind, rng)}{separator}end"
        text = plain
        for _ in range(times):
            text = json.dumps({"a": text})
        for value in values_in(both, plain):
            escaped = value
            for _ in range(times):
                escaped = json.dumps(escaped)[1:-1]
            assert escaped in values_in(both, text), (separator, text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'{"body": "Best regards\n' + MAIL + '"}', MAIL),
        (r'{"body": "\u00e9' + MAIL + '"}', "\\u00e9" + MAIL),
        (r'{"a": "anna.berg\u0040river-mill.org"}', r"anna.berg\u0040river-mill.org"),
        (r'{"a": "\u0061nna.berg@river-mill.or\u0067"}', r"\u0061nna.berg@river-mill.or\u0067"),
        (r"print('write to\tanna.berg\x40river-mill.org')", r"anna.berg\x40river-mill.org"),
        (r'{"a": "{\"b\": \"Mail:\\n' + MAIL + r'\\n\"}"}', MAIL),
        (r'{"\u0070assword": "kT7xQm92zLw4pR"}', "kT7xQm92zLw4pR"),
        # A path may end in what looks like an escape: it is not cut.
        (r'{"a": "C:\\keys\\' + TOKEN + '"}', TOKEN[1:]),
        (r"C:\keys" + "\\" + TOKEN, TOKEN[1:]),
        (r"C:\mail" + "\\" + MAIL, MAIL),
        (r"see \d+\.\d and " + MAIL, MAIL),
        # A password with backslashes of its own.
        (r'password = "kT7\nQm92zLw4pR"', r"kT7\nQm92zLw4pR"),
        (r'{"password": "kT7\\nQm92zLw4pR"}', r"kT7\\nQm92zLw4pR"),
    ],
)
def test_g6_a_value_is_found_whole_and_without_what_is_escaped_beside_it(both: Both, text: str, value: str):
    assert values_in(both, text) == [value]


HARMLESS_BEHIND_SEPARATORS = (
    "@app.get end",
    "-@app.get end",
    "no-reply@river-mill.org",
    "git@river-mill.org",
    "postmaster@river-mill.org",
    "rev 95.217.33.4",
    "@mill.org of http://db:",
)


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_g6_an_escape_sequence_is_no_part_of_a_finding(both: Both, times: int, ascii_only: bool):
    separators = (*SEPARATORS, "\u00a0", "\b", "\f", "\u001c", "\ud83d", "\u0085")
    for separator, harmless in itertools.product(separators, HARMLESS_BEHIND_SEPARATORS):
        text = f"the{separator}{harmless}{separator}@app.get"
        for _ in range(times):
            text = json.dumps({"a": text}, ensure_ascii=ascii_only)
        assert values_in(both, text) == [], text


def test_g6_a_line_of_json_text_ends_where_its_reader_sees_the_end(both: Both):
    assert values_in(both, json.dumps("the password was lost\norder A1b2C3d4E5f6G7 has shipped")) == []


def test_g6_what_is_read_goes_before_what_is_written(secret_detector):
    value = "kT7xQm92zLw4pR"
    text = rf'{{"u": "https:\/\/bob:{value}@db.river-mill.org\/x"}}'
    assert found_in(secret_detector, text) == [("url_password", value)]


def test_g6_a_finding_never_cuts_an_escape_sequence(both: Both):
    for separator in ("\\n", "\\t", '\\"', "\\\\", "\\u0041", "\\ud83d\\ude00", "\\"):
        for value in (MAIL, TOKEN, "+49 151 23456789"):
            text = f"Value:{separator}{value}{separator}end"
            view = Unescaped(text)
            for start, end, _ in both.places(text, lambda _: True):
                assert view.cut_at(start) is None
                assert view.cut_at(end) is None


def test_g6_places_of_the_unescaped_text_are_those_of_the_escaped():
    rng = random.Random(4)
    parts = ("a", "é", "😀", "\n", '"', "\\", "\\n", "x ")
    for _ in range(300):
        plain = "".join(rng.choices(parts[:5], k=12))
        escaped = json.dumps(plain)[1:-1]
        view = Unescaped(escaped)
        assert view.text == plain
        for start in range(len(plain)):
            for end in range(start + 1, len(plain) + 1):
                first, last = view.place(start), view.place(end)
                assert json.loads(f'"{escaped[first:last]}"') == plain[start:end]
