"""Answers in JSON: which schema they follow."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from services.simulator.answers.json_schema import example_value

__all__ = ["json_answer"]

_KEY: Final = re.compile(r"""['"`](\w{1,40})['"`]""")
_SCHEMAS_TRIED: Final = 50
"""Number of braces in a text at which a JSON Schema is looked for."""

_parse: Final = json.JSONDecoder().raw_decode


def json_answer(response_format: dict[str, Any], texts: list[str], topic: str, base: str) -> str:
    """The content of an answer in JSON. `texts`: the messages, of which the last is the question.

    Without a schema in the request it follows the last JSON Schema in the messages, where some clients write it; else
    it has the keys that the question names in quotation marks; else `answer` and `model`.
    """
    question = texts[-1] if texts else ""
    schema = _schema_of(response_format)
    if schema is None:
        schema = next((found for text in reversed(texts) for found in _schemas_in(text)), None)
    if schema is not None:
        value = example_value(schema, topic, question)
    elif keys := _KEY.findall(question):
        value = dict.fromkeys(keys, topic)
    else:
        value = {"answer": topic, "model": base}
    return msgspec.json.encode(value).decode()


def _schema_of(response_format: dict[str, Any]) -> Any:
    named = response_format.get("json_schema")
    return named.get("schema") if isinstance(named, dict) else None


def _schemas_in(text: str) -> Iterator[dict[str, Any]]:
    for brace in list(re.finditer(r"\{", text))[:_SCHEMAS_TRIED]:
        try:
            value, _ = _parse(text, brace.start())
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and ("properties" in value or "$ref" in value):
            yield value
