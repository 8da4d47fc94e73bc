"""An example value for a JSON Schema: the arguments of tool calls, and answers in JSON.

The example takes its words, numbers and choices from the question, as a model would.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeGuard
from urllib.parse import unquote

from services.simulator.answers.patterns import matching_text

__all__ = ["example_value"]

_MAX_DEPTH: Final = 32
"""Depth below which a schema is no longer read."""
_MAX_ITEMS: Final = 100
_MAX_VALUES: Final = 10_000
"""Number of values after which the example is cut short: references may multiply without end."""
_NUMBER: Final = re.compile(r"(?<![\w.])-?\d{1,15}(?:\.\d{1,9})?(?![\w.]*\w)")
_UNIONS: Final = ("anyOf", "oneOf")
_FORMATS: Final = {
    "date-time": "2025-01-31T12:00:00Z",
    "date": "2025-01-31",
    "time": "12:00:00Z",
    "duration": "P1D",
    "email": "user@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.com/",
    "url": "https://example.com/",
}
_KEYWORD_TYPES: Final = {
    "properties": "object",
    "additionalProperties": "object",
    "required": "object",
    "items": "array",
    "prefixItems": "array",
    "minItems": "array",
    "minimum": "number",
    "maximum": "number",
    "multipleOf": "number",
}
"""The type that a schema without `type` means by its keywords."""

_TIGHTER: Final[dict[str, Callable[..., Any]]] = {
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems"), min),
}

Schema = dict[str, Any]


def example_value(schema: object, topic: str, question: str = "") -> Any:
    """A value that is valid under `schema`.

    Strings are `topic`; numbers are those of `question` in order, then 1; of an enum it is the value that `question`
    names, else the first. Every optional property is there; a recursive schema ends at its first repetition.
    `not`, `if`, `dependentSchemas` and references to other documents are ignored.
    """
    root = schema if isinstance(schema, dict) else {}
    return _Example(root, topic, question or topic).of(schema, ("#",))


class _Example:
    """One value; it uses up the numbers of the question."""

    def __init__(self, root: Schema, topic: str, question: str) -> None:
        self._root = root
        self._topic = topic
        self._question = question.casefold()
        self._numbers = [float(each) for each in _NUMBER.findall(question)]
        self._left = _MAX_VALUES

    def of(self, schema: object, path: tuple[str, ...], variant: int = 0) -> Any:
        """`path`: the references on the way to here, and "" for each step without one; `variant`: which one of several
        different values.
        """
        self._left -= 1
        if not isinstance(schema, dict) or len(path) > _MAX_DEPTH or self._left < 0:
            return self._text({}, variant)
        flat, path = self._flat(schema, path)
        if "const" in flat:
            return flat["const"]
        if isinstance(flat.get("enum"), list) and flat["enum"]:
            return self._choice(flat["enum"], variant)
        kind = _type_of(flat)
        if kind in ("object", "array"):
            return (self._object if kind == "object" else self._array)(flat, path, variant)
        return self._scalar(kind, flat, variant)

    def _scalar(self, kind: str, schema: Schema, variant: int) -> Any:
        match kind:
            case "integer" | "number":
                return self._number(schema, variant, whole=kind == "integer")
            case "boolean":
                return variant % 2 == 0
            case "null":
                return None
            case _:
                return self._text(schema, variant)

    def _flat(self, schema: Schema, path: tuple[str, ...]) -> tuple[Schema, tuple[str, ...]]:
        """The schema with its references, its `allOf` and one branch of its unions merged into it."""
        flat = {name: value for name, value in schema.items() if name not in {"$ref", "allOf", *_UNIONS}}
        reference = schema.get("$ref")
        if isinstance(reference, str):
            path = (*path, reference)
            if len(path) <= _MAX_DEPTH:
                inner, path = self._flat(_resolve(self._root, reference), path)
                flat = _merged(inner, flat)
        for part in _schemas(schema.get("allOf")):
            inner, path = self._flat(part, (*path, ""))
            flat = _merged(flat, inner)
        for name in _UNIONS:
            if branches := _schemas(schema.get(name)):
                inner, path = self._flat(_branch(branches, path), (*path, ""))
                flat = _merged(flat, inner)
        return flat, path

    def _object(self, schema: Schema, path: tuple[str, ...], variant: int) -> dict[str, Any]:
        properties = schema.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        required = _names(schema.get("required"))
        value: dict[str, Any] = {}
        for name, inner in properties.items():
            if name in required or not (_is_repeated(path) or _refers_to(inner, path)):
                value[name] = self.of(inner, (*path, ""), variant)
        others = schema.get("additionalProperties")
        others = others if isinstance(others, dict) else {}
        for name in required:
            if name not in value:
                value[name] = self.of(others, (*path, ""), variant)
        least = max(_whole(schema.get("minProperties")) or 0, 1 if others and not properties else 0)
        for number in range(1, min(least, _MAX_ITEMS) - len(value) + 1):
            name = "name" if number == 1 else f"name_{number}"
            value[name] = self.of(others, (*path, ""), variant)
        return value

    def _array(self, schema: Schema, path: tuple[str, ...], variant: int) -> list[Any]:
        first, items = _schemas(schema.get("prefixItems")), schema.get("items", {})
        ends = _is_repeated(path) or _refers_to(items, path)
        count = max(_whole(schema.get("minItems")) or 0, len(first) or (0 if ends else 1))
        most = _whole(schema.get("maxItems"))
        count = min(count, _MAX_ITEMS if most is None else most)
        if schema.get("uniqueItems"):
            return self._different(items, path, count)
        return [
            self.of(first[index] if index < len(first) else items, (*path, ""), variant)
            for index in range(count)
        ]

    def _different(self, items: object, path: tuple[str, ...], count: int) -> list[Any]:
        values: list[Any] = []
        for variant in range(2 * count):
            value = self.of(items, (*path, ""), variant)
            if len(values) < count and value not in values:
                values.append(value)
        return values

    def _choice(self, values: list[Any], variant: int) -> Any:
        named = [
            value
            for value in values
            if isinstance(value, str) and _mentions(self._question, value.casefold())
        ]
        return (named + [value for value in values if value not in named])[variant % len(values)]

    def _number(self, schema: Schema, variant: int, *, whole: bool) -> int | float:
        for position, number in enumerate(self._numbers):
            if _fits(schema, number) and (number.is_integer() or not whole):
                del self._numbers[position]
                return int(number) if number.is_integer() else number
        candidates = [*_candidates(schema, variant, whole=whole)]
        number = next((each for each in candidates if _fits(schema, each)), candidates[0])
        return int(number) if whole and number.is_integer() else number

    def _text(self, schema: Schema, variant: int) -> str:
        suffix = f" {variant + 1}" if variant else ""
        least, most = _whole(schema.get("minLength")) or 0, _whole(schema.get("maxLength"))
        pattern = schema.get("pattern")
        if isinstance(pattern, str):
            found = matching_text(pattern, least, most)
            if found is not None:
                return found
        if schema.get("format") in _FORMATS:
            return _FORMATS[str(schema["format"])]
        text = self._topic + suffix
        if len(text) < least:
            text = ((text or "text") + " ") * least
            return text[:least]
        return text if most is None else text[:most]


def _type_of(schema: Schema) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), "null")
    if isinstance(kind, str):
        return kind
    return next((kind for keyword, kind in _KEYWORD_TYPES.items() if keyword in schema), "string")


def _resolve(root: Schema, reference: str) -> Schema:
    """The schema at a JSON pointer of the same document; {} for any other reference."""
    if not reference.startswith("#"):
        return {}
    found: Any = root
    for part in unquote(reference[1:]).split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and key.isdecimal() and int(key) < len(found):
            found = found[int(key)]
        else:
            found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _branch(branches: list[Schema], path: tuple[str, ...]) -> Schema:
    """The first branch that is not null; on a repeated path, one that ends the repetition."""
    for branch in branches:
        if branch.get("type") != "null" and not _refers_to(branch, path):
            return branch
    return next((branch for branch in branches if branch.get("type") == "null"), branches[0])


def _refers_to(schema: object, path: tuple[str, ...]) -> bool:
    """Whether the schema, or a branch or the items of it, is one that the path already leads through."""
    if not isinstance(schema, dict):
        return False
    inner = [
        *_schemas(schema.get("allOf")),
        *(each for name in _UNIONS for each in _schemas(schema.get(name))),
    ]
    return schema.get("$ref") in path or any(_refers_to(each, path) for each in (*inner, schema.get("items")))


def _is_repeated(path: tuple[str, ...]) -> bool:
    references = [each for each in path if each]
    return len(references) > len(set(references))


def _merged(one: Schema, other: Schema) -> Schema:
    merged = {**one, **other}
    for name in ("properties", "$defs"):
        if isinstance(one.get(name), dict) and isinstance(other.get(name), dict):
            merged[name] = {**one[name], **other[name]}
    if "required" in one and "required" in other:
        merged["required"] = [*_names(one["required"]), *_names(other["required"])]
    for name, tighter in _TIGHTER.items():
        if _is_number(one.get(name)) and _is_number(other.get(name)):
            merged[name] = tighter(one[name], other[name])
    return merged


def _candidates(schema: Schema, variant: int, *, whole: bool) -> Iterator[float]:
    """1, and values at and near the bounds, of which one fits if any value does."""
    yield 1.0 + variant
    step = _step(schema)
    low, high = _bound(schema, "minimum", "exclusiveMinimum"), _bound(schema, "maximum", "exclusiveMaximum")
    on_steps = whole or "multipleOf" in schema
    if low is not None:
        first = math.ceil(low / step) * step if on_steps else low
        yield from (first + variant * step, first + (variant + 1) * step)
    if high is not None:
        last = math.floor(high / step) * step if on_steps else high
        yield from (last - variant * step, last - (variant + 1) * step)
    if low is not None and high is not None:
        yield low + (high - low) / (2 + variant)
    yield variant * step


def _bound(schema: Schema, *names: str) -> float | None:
    return next((float(schema[name]) for name in names if _is_number(schema.get(name))), None)


def _step(schema: Schema) -> float:
    step = schema.get("multipleOf")
    return float(step) if _is_number(step) and step > 0 else 1.0


def _fits(schema: Schema, number: float) -> bool:
    limits = [schema.get(name) for name in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")]
    low, above, high, below = (float(each) if _is_number(each) else None for each in limits)
    return (
        (low is None or number >= low)
        and (above is None or number > above)
        and (high is None or number <= high)
        and (below is None or number < below)
        and (not _is_number(schema.get("multipleOf")) or (number / _step(schema)).is_integer())
    )


def _mentions(text: str, phrase: str) -> bool:
    return bool(phrase) and re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", text) is not None


def _schemas(value: object) -> list[Schema]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _names(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and math.isfinite(value) and value >= 0 else None


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
