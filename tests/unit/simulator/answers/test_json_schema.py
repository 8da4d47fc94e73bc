import datetime as dt
import ipaddress
import uuid
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Any, Literal, Optional

import jsonschema
import msgspec
import pytest
from pydantic import BaseModel, Field, HttpUrl

from services.simulator.answers.json_schema import example_value

NODE: dict[str, Any] = {
    "$defs": {
        "Node": {
            "type": "object",
            "properties": {
                "value": {"type": "integer"},
                "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
                "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
            },
            "required": ["value", "next", "children"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/Node",
}
ADDITION = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}


def test_numbers_are_those_of_the_question_in_their_order():
    assert example_value(ADDITION, "What", "What is 1 + 2") == {"a": 1, "b": 2}
    assert example_value(ADDITION, "What", "magic_function(3)") == {"a": 3, "b": 1}
    assert example_value(ADDITION, "What", "2.5 is no integer, v3 no number, -4 is one.") == {"a": -4, "b": 1}


def test_a_number_of_the_question_is_passed_over_where_it_does_not_fit():
    bounded = {"type": "integer", "minimum": 10, "maximum": 20}
    assert example_value(bounded, "t", "of 3, 12 and 40") == 12
    assert example_value(bounded, "t", "of 3") == 10


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"minimum": 5}, 5),
        ({"exclusiveMinimum": 5}, 6),
        ({"maximum": -5}, -5),
        ({"exclusiveMaximum": -5}, -6),
        ({"minimum": 3, "multipleOf": 4}, 4),
        ({"maximum": -3, "multipleOf": 4}, -4),
    ],
)
def test_a_number_keeps_its_bounds(bounds: dict[str, int], expected: int):
    assert example_value({"type": "integer", **bounds}, "t") == expected


def test_a_number_lies_between_exclusive_bounds():
    schema = {"type": "number", "exclusiveMinimum": 2, "exclusiveMaximum": 2.5}
    assert 2 < example_value(schema, "t") < 2.5


def test_an_enum_takes_the_value_that_the_question_names():
    unit = {"enum": ["celsius", "fahrenheit"]}
    assert example_value(unit, "t", "In Fahrenheit, please.") == "fahrenheit"
    assert example_value(unit, "t", "Please.") == "celsius"


def test_a_recursive_schema_ends_and_is_valid():
    value = example_value(NODE, "t")
    assert value == {"value": 1, "next": None, "children": []}
    jsonschema.validate(value, NODE)


def test_a_schema_whose_references_multiply_has_an_example_soon():
    names = [f"d{number}" for number in range(12)]
    definitions: dict[str, Any] = {
        name: {"type": "object", "properties": {str(i): {"$ref": f"#/$defs/{below}"} for i in range(9)}}
        for name, below in pairwise(names)
    }
    assert example_value({"$defs": definitions, "$ref": "#/$defs/d0"}, "t")


def test_all_of_and_references_with_siblings_are_merged():
    schema = {
        "definitions": {"named": {"type": "object", "properties": {"name": {"type": "string"}}}},
        "allOf": [{"$ref": "#/definitions/named"}, {"properties": {"age": {"type": "integer"}}}],
        "required": ["name", "age"],
    }
    assert example_value(schema, "t") == {"name": "t", "age": 1}


def test_a_free_form_object_has_an_entry():
    assert example_value({"type": "object", "additionalProperties": {"type": "integer"}}, "t") == {"name": 1}
    assert example_value({"type": "object"}, "t") == {}


def test_a_tuple_has_its_members():
    schema = {"type": "array", "prefixItems": [{"type": "string"}, {"type": "boolean"}], "items": False}
    assert example_value(schema, "t") == ["t", True]


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(default=9, ge=1, le=9)


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str = Field(pattern=r"^[A-Z][a-z]{3,}$")


class Tree(BaseModel):
    label: str = Field(max_length=4)
    branches: list["Tree"]
    parent: Optional["Tree"] = None


class Zoo(BaseModel):
    id: uuid.UUID
    opened: dt.datetime
    days: set[int] = Field(min_length=3)
    hours: tuple[dt.time, dt.time]
    wait: dt.timedelta
    price: Decimal = Field(gt=0, decimal_places=2)
    share: float = Field(gt=0, lt=1)
    even: int = Field(multiple_of=2, gt=3)
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]] = Field(min_length=2, max_length=3)
    keepers: dict[str, int]
    address: ipaddress.IPv4Address | None
    tree: Tree
    color: Literal["red", "green"] = "green"
    url: HttpUrl
    note: Annotated[str, Field(min_length=50)]


@pytest.mark.parametrize("question", ["", "7 cats, 0.5 dogs and 12 trees in green", "-1 and 1000000"])
def test_what_pydantic_asks_for_is_valid_for_pydantic(question: str):
    Zoo.model_validate_json(msgspec.json.encode(example_value(Zoo.model_json_schema(), "A topic", question)))
