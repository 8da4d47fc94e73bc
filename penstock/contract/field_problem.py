"""What is wrong with a value that a decoder refuses, in plain words: the field, and what it must be."""

from __future__ import annotations

import re
from typing import Final

import msgspec
from msgspec import Struct

__all__ = ["KINDS", "PATH", "FieldProblem", "field_problem"]

KINDS: Final = {
    "int": "a number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "null": "null",
    "array": "a list",
    "object": "an object",
}
"""The types of JSON values that msgspec names, in plain words."""
PATH: Final = re.compile(r" - at `\$\.?([^`]*)`$")
"""Where the value is, at the end of the text of a ValidationError."""
_MISMATCH: Final = re.compile(r"^Expected `([^`]*)`, got `(\w+)`")
_BOUND: Final = re.compile(r"^Expected `(?:int|float)` (<=|>=|<|>) (\S+)")
_BOUNDS: Final = {"<=": "at most", ">=": "at least", "<": "below", ">": "above"}
_NO_CHOICE: Final = re.compile(r"^Invalid enum value ('[^']{0,100}'|\d+)")
_MISSING: Final = re.compile(r"^Object missing required field `(.*?)`")


class FieldProblem(Struct, frozen=True):
    field: str
    """Its path; empty: the whole body."""
    problem: str
    """A whole sentence."""


def field_problem(error: Exception, field: str = "") -> FieldProblem:
    """Translate the error of a decoder, or of msgspec.convert, for the value of `field`; empty: for the whole body.

    Parses the text of msgspec's ValidationError, the only place that holds the path.
    """
    text, subject = str(error), field or "the body"
    if isinstance(error, RecursionError):
        return FieldProblem(field, f"{subject} is nested too deeply")
    if isinstance(error, UnicodeDecodeError):
        return FieldProblem(field, f"{subject} is not UTF-8 text")
    if not isinstance(error, msgspec.ValidationError):
        return FieldProblem(field, f"{subject} is not valid JSON: {text}")
    place = PATH.search(text)
    path = _join(field, place[1].partition("[...]")[0] if place else "")
    if missing := _MISSING.match(text):
        path = _join(path, missing[1])
        return FieldProblem(path, f"{path} is missing")
    subject = path or "the body"
    if mismatch := _MISMATCH.match(text):
        expected = dict.fromkeys(KINDS.get(each, each) for each in mismatch[1].split(" | ") if each != "null")
        got = KINDS.get(mismatch[2], mismatch[2])
        return FieldProblem(path, f"{subject} must be {' or '.join(expected)}, not {got}")
    return FieldProblem(path, f"{subject} {_reason(text)}")


def _reason(text: str) -> str:
    if bound := _BOUND.match(text):
        return f"must be {_BOUNDS[bound[1]]} {bound[2]}"
    if value := _NO_CHOICE.match(text):
        return f"cannot be {value[1]}"
    return f"is not valid: {PATH.sub('', text)}"


def _join(outer: str, inner: str) -> str:
    return f"{outer}.{inner}" if outer and inner and not inner.startswith("[") else outer + inner
