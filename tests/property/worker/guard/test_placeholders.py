"""Restoring a streamed answer equals restoring the whole, however it is cut into chunks."""

from __future__ import annotations

import json
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from penstock.contract.guard.checks import Finding
from services.worker.guard.placeholders import JsonPosition, Placeholders, Restorer
from tests.harness.guard.streamed_texts import chunks_of

_PARTS: Final = st.sampled_from(
    (
        *(
            "[EMAIL_1]",
            "[EMAIL_2]",
            "[PHONE_1]",
            "[EMAIL_12]",
            "[",
            "]",
            "_1]",
            "[EMAIL",
            "EMAIL_1",
            " ",
            "a",
            '"',
            "\\",
        ),
    )
)


def _placeholders(*values: str) -> Placeholders:
    placeholders = Placeholders()
    for kind, value in zip(("email", "email", "phone"), values, strict=True):
        placeholders.placeholder(kind, value, of_request=True)
    return placeholders


@given(st.data(), st.lists(_PARTS, max_size=12).map("".join), st.booleans())
def test_g6_restoring_chunks_equals_restoring_the_whole(
    data: st.DataObject, text: str, json_text: bool
) -> None:
    placeholders = _placeholders("a@x.io", 'b"\\[EMAIL_1]', "[")
    restorer = Restorer(placeholders, json_text=json_text)
    restored = "".join(map(restorer.push, data.draw(chunks_of(text)))) + restorer.end()
    assert restored == placeholders.restore(text, json_text=json_text)


@given(st.dictionaries(st.text(max_size=6), st.text(max_size=12), max_size=3), st.data())
def test_g6_redacted_arguments_are_json_and_come_back(arguments: dict[str, str], data: st.DataObject) -> None:
    text = json.dumps(arguments, ensure_ascii=False)
    items = list(arguments.items())
    findings = []
    if items:
        number = data.draw(st.integers(1, len(items)))
        value = items[number - 1][1]
        end = len(json.dumps(dict(items[:number]), ensure_ascii=False)) - len('"}')
        start = end - len(json.dumps(value, ensure_ascii=False)[1:-1])
        found = Finding(start=start, end=end, category="secrets", kind="jwt", detector="secrets")
        findings = [found] if value else []
    placeholders = Placeholders([text])
    redacted = placeholders.replace(text, findings, of_request=True, position=JsonPosition())
    json.loads(redacted)
    assert json.loads(placeholders.restore(redacted, json_text=True)) == arguments
