"""Example values are valid under their schemas, as an independent validator reads them."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.simulator.answers.json_schema import example_value
from services.simulator.answers.patterns import matching_text

WORDS = st.text("abc é你", max_size=12)
QUESTIONS = st.one_of(WORDS, st.lists(st.integers(-50, 50)).map(lambda all_: " and ".join(map(str, all_))))
PATTERNS = [
    r"^[A-Z]{2,4}-\d+$",
    r"^\d{5}(-\d{4})?$",
    r"^(?:red|green)$",
    r"^[^@\s]+@[^@\s]+\.\w{2,}$",
    r"[a-f0-9]{8}",
    r"^\S.*\S$",
    r"^#(?P<hex>[0-9a-fA-F]{6})$",
]


@st.composite
def bounded_numbers(draw: st.DrawFn) -> dict[str, Any]:
    low = draw(st.integers(-20, 20))
    high = low + draw(st.integers(2, 40))
    names = draw(st.sampled_from([("minimum", "maximum"), ("exclusiveMinimum", "exclusiveMaximum")]))
    kept = {name: value for name, value in zip(names, (low, high), strict=True) if draw(st.booleans())}
    return {"type": draw(st.sampled_from(["integer", "number"])), **kept}


@st.composite
def bounded_strings(draw: st.DrawFn) -> dict[str, Any]:
    least = draw(st.integers(0, 30))
    most = least + draw(st.integers(0, 30))
    kept = draw(st.sampled_from([{}, {"minLength": least}, {"maxLength": most}]))
    return {"type": "string", **kept, **draw(st.sampled_from([{}, {"minLength": least, "maxLength": most}]))}


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    properties = st.dictionaries(st.sampled_from("abcd"), inner, max_size=3)
    return properties.flatmap(
        lambda found: st.builds(
            lambda required, closed: {
                "type": "object",
                "properties": found,
                "required": required,
                **({"additionalProperties": False} if closed else {}),
            },
            st.lists(st.sampled_from(sorted(found)), unique=True) if found else st.just([]),
            st.booleans(),
        )
    )


def arrays(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(
        lambda items, least, more: {
            "type": "array",
            "items": items,
            "minItems": least,
            "maxItems": least + more,
        },
        inner,
        st.integers(0, 3),
        st.integers(0, 2),
    )


LEAVES = st.one_of(
    bounded_numbers(),
    bounded_strings(),
    st.sampled_from(PATTERNS).map(lambda pattern: {"type": "string", "pattern": pattern}),
    st.sampled_from(["date-time", "date", "email", "ipv4", "ipv6", "uuid"]).map(
        lambda name: {"type": "string", "format": name}
    ),
    st.lists(st.one_of(WORDS, st.integers()), min_size=1, unique=True).map(lambda values: {"enum": values}),
    st.sampled_from(
        [{"type": "boolean"}, {"type": "null"}, {"const": 7}, {"type": ["null", "string"]}, {}, True]
    ),
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        objects(inner),
        arrays(inner),
        st.lists(inner, min_size=1, max_size=3).map(lambda branches: {"anyOf": branches}),
        inner.map(lambda one: {"anyOf": [{"type": "null"}, one]}),
    ),
    max_leaves=8,
)


@given(SCHEMAS, WORDS, QUESTIONS)
def test_an_example_is_valid_under_its_schema(schema: Any, topic: str, question: str):
    value = example_value(schema, topic, question)
    jsonschema.validate(
        value, schema, cls=jsonschema.Draft202012Validator, format_checker=jsonschema.FormatChecker()
    )


@given(SCHEMAS, st.integers(1, 5))
def test_items_of_a_unique_array_of_numbers_differ(schema: Any, count: int):
    unique = {"type": "array", "items": {"type": "integer"}, "minItems": count, "uniqueItems": True}
    both = {"type": "object", "properties": {"numbers": unique, "other": schema}, "required": ["numbers"]}
    value = example_value(both, "topic", "take 2 and 3")
    assert len(set(value["numbers"])) == len(value["numbers"]) == count


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("least", [0, 3])
def test_a_text_for_a_pattern_matches_it(pattern: str, least: int):
    text = matching_text(pattern, least, None)
    assert text is not None
    assert re.search(pattern, text)
    assert len(text) >= least


@example("[[a]", 1)
@given(st.text("ab[]()*+?|\\^$.{}0,1-", max_size=20), st.integers(0, 6))
def test_a_text_is_found_for_any_pattern_or_none(pattern: str, least: int):
    text = matching_text(pattern, least, 20)
    assert text is None or (re.search(pattern, text) and least <= len(text) <= 20)


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text()),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(
                    [
                        "type",
                        "properties",
                        "items",
                        "anyOf",
                        "allOf",
                        "$ref",
                        "enum",
                        "minimum",
                        "minItems",
                        "required",
                        "pattern",
                        "minLength",
                        "multipleOf",
                        "additionalProperties",
                        "uniqueItems",
                    ]
                ),
                inner,
                max_size=5,
            ),
        ),
        max_leaves=20,
    )
)
def test_a_schema_of_any_shape_has_an_example(schema: Any):
    example_value(schema, "topic", "1 and 2")
