"""An example value for a JSON Schema, used as the answer of JSON mode and of tool calls."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["example_value"]

_MAX_DEPTH: Final = 8
"""Depth at which the example of a recursive schema ends."""
_UNIONS: Final = ("anyOf", "oneOf", "allOf")


def example_value(schema: object, text: str, depth: int = 0) -> Any:
    """A value valid under the common keywords of JSON Schema; strings are `text`, numbers are 1."""
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        return text
    for fixed in ("const", "default"):
        if fixed in schema:
            return schema[fixed]
    if schema.get("enum"):
        return schema["enum"][0]
    union = next((schema[name] for name in _UNIONS if schema.get(name)), None)
    if union is not None:
        return example_value(union[0], text, depth + 1)
    return _of_type(schema, text, depth)


def _of_type(schema: dict[str, Any], text: str, depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = kind[0] if kind else "null"
    if kind == "object":
        properties = schema.get("properties") or {}
        return {name: example_value(inner, text, depth + 1) for name, inner in properties.items()}
    if kind == "array":
        return [example_value(schema.get("items"), text, depth + 1)] * max(1, schema.get("minItems", 1))
    return {"integer": 1, "number": 1.0, "boolean": True, "null": None}.get(kind, text)
