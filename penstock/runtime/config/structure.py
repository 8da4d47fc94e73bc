"""Converts plain data into structs and continues after each mistake, so that all are reported together.

msgspec's own conversion stops at the first mistake; here it converts one value at a time, and strictly.
"""

from __future__ import annotations

import re
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

import msgspec
from msgspec import UNSET, Struct, UnsetType

from penstock.runtime.config.problems import ProblemReport, joined, nearest
from penstock.runtime.config.unknown_keys import report_unknown_key
from penstock.runtime.struct_fields import fields_of

__all__ = ["build"]

_EXPECTED = re.compile(r"Expected `(?P<expected>[^`]+)`, got `(?P<got>[^`]+)`")
_EXPONENT: Final = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
_ALL_DIGITS: Final = "write all digits, such as 1000000 for 1e+06, which YAML takes for text"
_WORDS: Final = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}


def build(kind: Any, value: object, path: str, report: ProblemReport) -> Any:
    """The value as `kind`; UNSET if it could not be converted, with the reasons in the report.

    A struct or a list is built with UNSET in place of invalid parts, so that the rest can still be checked; a dict
    omits them. The report decides whether the whole is valid.
    """
    if get_origin(kind) in (UnionType, Union) and value is not None:
        kind = _member(kind, value)
    if _is_struct(kind):
        return _struct(kind, {} if value is None else value, path, report)
    if get_origin(kind) is dict:
        return _entries(kind, value, path, report)
    if get_origin(kind) is tuple:
        return _items(kind, value, path, report)
    return _leaf(kind, value, path, report)


def _member(union: Any, value: object) -> Any:
    """The members of a union that `value` is converted to: its struct, or the others together."""
    members = [each for each in get_args(union) if each is not NoneType]
    struct = next((each for each in members if _is_struct(each)), None)
    if struct is not None and (len(members) == 1 or isinstance(value, dict)):
        return struct
    return Union[tuple(each for each in members if each is not struct)]  # noqa: UP007 - of members known at run time


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _struct(kind: type[Struct], value: object, path: str, report: ProblemReport) -> Struct | UnsetType:
    if not isinstance(value, dict):
        return _wrong("object", value, path, report)
    fields = {field.encode_name: field for field in fields_of(kind)}
    made: dict[str, Any] = {}
    for key in value:
        if key not in fields:
            report_unknown_key(report, path, key, kind, fields)
    for name, field in fields.items():
        below = joined(path, name)
        if name in value:
            made[field.name] = build(field.type, value[name], below, report)
        elif field.required:
            report.add(below, "is missing", f"add {name}: here")
            made[field.name] = UNSET
    return kind(**made)


def _entries(kind: Any, value: object, path: str, report: ProblemReport) -> dict[str, Any] | UnsetType:
    if not isinstance(value, dict):
        return _wrong("object", value, path, report)
    _, value_kind = get_args(kind)
    made: dict[str, Any] = {}
    for key, entry in value.items():
        below = joined(path, key)
        built = build(value_kind, entry, below, report)
        if built is not UNSET:
            made[key] = built
    return made


def _items(kind: Any, value: object, path: str, report: ProblemReport) -> tuple[Any, ...] | UnsetType:
    if not isinstance(value, list):
        return _wrong("array", value, path, report)
    return tuple(
        build(get_args(kind)[0], item, f"{path}[{index}]", report) for index, item in enumerate(value)
    )


def _leaf(kind: Any, value: object, path: str, report: ProblemReport) -> Any:
    if get_origin(kind) is Literal and isinstance(value, str) and value not in get_args(kind):
        choices = get_args(kind)
        report.add(path, f"must be one of: {', '.join(choices)}", nearest(value, choices))
        return UNSET
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        match = _EXPECTED.search(str(error))
        if match is not None:
            _wrong(match["expected"], value, path, report)
        elif (bound := _bound_of(kind)) is not None:
            report.add(path, bound["problem"], bound["fix"])
        else:
            report.add(
                path, f"is not valid: {error}", "see the field's description in deploy/catalogues/README.md"
            )
        return UNSET


def _bound_of(kind: Any) -> dict[str, str] | None:
    """The problem and the fix that the annotation of a number names for a value out of bounds."""
    metas = [each for part in (kind, *get_args(kind)) for each in getattr(part, "__metadata__", ())]
    return next((meta.extra for meta in metas if isinstance(meta, msgspec.Meta) and meta.extra), None)


def _wrong(expected: str, value: object, path: str, report: ProblemReport) -> UnsetType:
    names = [name.strip() for name in expected.split("|")]
    wanted = " or ".join(_WORDS.get(name, name) for name in names if name != "null")
    if isinstance(value, str) and not {"str", "array", "object"}.intersection(names):
        fix = _ALL_DIGITS if _EXPONENT.fullmatch(value) else f"write {wanted}, without quotes"
    elif "str" in names and isinstance(value, bool | int | float):
        fix = "put it in quotes"
    elif "array" in names and isinstance(value, str):
        fix = "write it as a list, in square brackets"
    else:
        fix = f"write {wanted}"
    # Text in place of a whole section may be a key, as in `providers: {groq: gsk_…}`.
    quote = not (isinstance(value, str) and names == ["object"])
    report.add(path, f"must be {wanted}, and this is {_sort(value)}", fix, quote=quote)
    return UNSET


def _sort(value: object) -> str:
    names = {
        bool: "bool",
        int: "int",
        float: "float",
        str: "str",
        list: "array",
        dict: "object",
        NoneType: "null",
    }
    sort = _WORDS[names[type(value)]]
    return "a number with a fraction" if isinstance(value, float) else sort
