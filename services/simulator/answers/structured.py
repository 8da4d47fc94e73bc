"""An example value for a JSON Schema: what JSON mode and tool calls answer with."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["example"]

_DEEPEST: Final = 8
"""Recursive schemas stop here."""
_UNIONS: Final = ("anyOf", "oneOf", "allOf")


def example(schema: object, text: str, depth: int = 0) -> Any:
    """A value that fits the common parts of JSON Schema; strings say `text`, numbers are 1."""
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return text
    for fixed in ("const", "default"):
        if fixed in schema:
            return schema[fixed]
    if schema.get("enum"):
        return schema["enum"][0]
    union = next((schema[name] for name in _UNIONS if schema.get(name)), None)
    if union is not None:
        return example(union[0], text, depth + 1)
    return _of_type(schema, text, depth)


def _of_type(schema: dict[str, Any], text: str, depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = kind[0] if kind else "null"
    if kind == "object":
        properties = schema.get("properties") or {}
        return {name: example(inner, text, depth + 1) for name, inner in properties.items()}
    if kind == "array":
        return [example(schema.get("items"), text, depth + 1)] * max(1, schema.get("minItems", 1))
    return {"integer": 1, "number": 1.0, "boolean": True, "null": None}.get(kind, text)
