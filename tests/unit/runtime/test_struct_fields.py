"""The annotations of a struct are evaluated for its fields once, which takes most of the load of a catalogue."""

from __future__ import annotations

from msgspec import defstruct

from penstock.runtime.struct_fields import fields_of

evaluated: list[str] = []


def whole_number() -> type[int]:
    evaluated.append("number")
    return int


def test_k7_the_annotations_of_a_struct_are_evaluated_once() -> None:
    section = defstruct("Section", [("number", "whole_number()")], module=__name__)
    evaluated.clear()
    assert [(field.name, field.type) for field in fields_of(section)] == [("number", int)]
    once = len(evaluated)
    assert once > 0
    assert [field.name for field in fields_of(section)] == ["number"]
    assert len(evaluated) == once
