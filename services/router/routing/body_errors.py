"""Errors about the body of a request: the field, and what it must be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw, Struct

from penstock.contract.field_problem import KINDS, PATH
from penstock.runtime.json_values import has_more_values
from services.router.routing.outcome import InvalidRequest

__all__ = ["BODY_ERRORS", "BodyProblems", "InvalidBody", "check_utf8", "check_values"]

BODY_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder raises for a body that it cannot read."""
_GOT: Final = re.compile(r"got `(\w+)`")
_MISSING: Final = re.compile(r"missing required field `(\w+)`")
_UNKNOWN: Final = re.compile(r"contains unknown field `(.*?)`")
_INDEX: Final = re.compile(r"\[\d+\]")
_QUOTED: Final = 80
"""Characters of an unknown name that an error repeats."""


class InvalidBody(InvalidRequest):
    """The body cannot be processed. `field` is the path within it; `problem` is a whole sentence."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(problem, param=None if field == "body" else field)
        self.field = field
        self.problem = problem


class BodyProblems(Struct, frozen=True):
    """Errors about the fields of one kind of body."""

    expected: Mapping[str, str]
    """What each field must be, by its path, with `[]` for each index."""

    def wrong(self, field: str, got: str = "") -> InvalidBody:
        """An error about the value at `field`; `got` describes that value."""
        expected = self.expected.get(_INDEX.sub("[]", field), "something else")
        subject = "the body" if field == "body" else field
        return InvalidBody(field, f"{subject} must be {expected}" + (f", not {got}" if got else ""))

    def of(self, error: Exception, within: str = "") -> InvalidBody:
        """Translate a decoder's `error`; `within`: the field that was decoded, if it was not the whole body.

        Parses the text of msgspec's ValidationError, the only place that holds the path.
        """
        text = str(error)
        if isinstance(error, msgspec.ValidationError):
            return self._of_value(text, within)
        if isinstance(error, RecursionError):
            return InvalidBody("body", "the body is nested too deeply")
        if isinstance(error, UnicodeDecodeError):
            return InvalidBody("body", "the body is not UTF-8 text")
        return InvalidBody("body", f"the body is not JSON: {text}")

    def _of_value(self, text: str, within: str) -> InvalidBody:
        path = PATH.search(text)
        field = f"{within}{path[1] if path else ''}" or "body"
        missing = _MISSING.search(text)
        if missing:
            field = missing[1] if field == "body" else f"{field}.{missing[1]}"
            return InvalidBody(field, f"{field} is missing")
        unknown = _UNKNOWN.search(text)
        if unknown:
            fields = ", ".join(each for each in self.expected if each.isidentifier() and each != "body")
            return InvalidBody(
                unknown[1], f"{unknown[1][:_QUOTED]!r} is not a field; the fields are {fields}"
            )
        got = _GOT.search(text)
        return self.wrong(field, KINDS.get(got[1], got[1]) if got else "")


def check_values(body: Raw | bytes | bytearray, limit: int) -> None:
    """Raises InvalidBody for a body with more than `limit` values, before it is decoded."""
    if has_more_values(body, limit):
        raise InvalidBody("body", f"the body has more than {limit:,} values, which is the limit")


def check_utf8(body: bytes | bytearray) -> None:
    """Msgspec checks UTF-8 only in the fields that it decodes. Raises InvalidRequest."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the stored body is not UTF-8 text: {error.reason}") from error
