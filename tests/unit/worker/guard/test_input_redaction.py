"""Values in texts of a request that are JSON documents, as results of tools are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from penstock.contract.guard.checks import Finding
from services.worker.guard.input_redaction import InputRedaction
from services.worker.guard.request_texts import texts_of


def _redacted(content: str, value: str) -> tuple[str, InputRedaction]:
    body = Raw(json.dumps({"messages": [{"role": "tool", "tool_call_id": "c", "content": content}]}).encode())
    read = texts_of(body)
    (index,) = (number for number, text in enumerate(read.texts) if text.text == content)
    start = content.index(value)
    found = Finding(
        text=index,
        start=start,
        end=start + len(value),
        category="personal_data",
        kind="email",
        detector="personal_data",
    )
    redaction = InputRedaction(restore=True)
    redaction.note(read, [found])
    changed: Any = json.loads(bytes(redaction.applied(body)[0]))
    return changed["messages"][0]["content"], redaction


@pytest.mark.parametrize(
    ("content", "value", "sent", "restored"),
    [
        (
            r'{"a": "Mail:\nann\u0040mail.example\n"}',
            r"ann\u0040mail.example",
            r'{"a": "Mail:\n[EMAIL_1]\n"}',
            "ann@mail.example",
        ),
        (r'["line\nline"]', r"line\nline", '["[EMAIL_1]"]', "line\nline"),
        ('{"phone": 4915123456}', "4915123456", '{"phone": "[EMAIL_1]"}', "4915123456"),
        (r"[x] C:\new\ann", r"\new\ann", "[x] C:[EMAIL_1]", r"\new\ann"),
        (r"'ann\u0040mail.example'", r"ann\u0040mail.example", "'[EMAIL_1]'", r"ann\u0040mail.example"),
    ],
)
def test_g6_a_value_in_a_json_document_is_restored_as_its_reader_reads_it(
    content: str, value: str, sent: str, restored: str
) -> None:
    changed, redaction = _redacted(content, value)
    assert changed == sent
    assert redaction.placeholders.restore("To [EMAIL_1].") == f"To {restored}."
