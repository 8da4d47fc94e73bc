"""Turn a decoder's error on a chat body into a sentence for the person who wrote the body."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from services.router.routing.outcome import InvalidRequest

__all__ = ["InvalidBody", "body_error"]

_MESSAGE_ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")

_KINDS: Final = {
    "int": "a number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "null": "null",
    "array": "a list",
    "object": "an object",
}
_EXPECTED: Final = {
    "body": "an object",
    "messages": "a list of messages",
    "messages[]": "an object",
    "messages[].role": f"one of {', '.join(_MESSAGE_ROLES)}",
    "messages[].content": "text or a list of parts",
    "messages[].content[]": "an object",
    "messages[].content[].type": "text",
    "messages[].content[].text": "text",
    "stream": "true or false",
    "max_tokens": "a positive integer",
    "max_completion_tokens": "a positive integer",
    "n": "a positive integer",
    "model": "text",
    "tools": "a list",
    "functions": "a list",
}
_PATH: Final = re.compile(r" - at `\$\.?([^`]*)`$")
_GOT: Final = re.compile(r"got `(\w+)`")
_MISSING: Final = re.compile(r"missing required field `(\w+)`")
_INDEX: Final = re.compile(r"\[\d+\]")


class InvalidBody(InvalidRequest):
    """No model can take the body. `field` is the path within it; `problem` is a whole sentence."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(problem)
        self.field = field
        self.problem = problem

    @classmethod
    def wrong(cls, field: str, got: str = "") -> InvalidBody:
        """An error about the value at `field`; `got` describes that value."""
        expected = _EXPECTED.get(_INDEX.sub("[]", field), "something else")
        subject = "the body" if field == "body" else field
        return cls(field, f"{subject} must be {expected}" + (f", not {got}" if got else ""))


def body_error(error: Exception) -> InvalidBody:
    """Translate a decoder's `error`.

    Parses the text of msgspec's ValidationError, the only place that holds the path.
    """
    text = str(error)
    if isinstance(error, msgspec.ValidationError):
        path = _PATH.search(text)
        field = path[1] if path else "body"
        missing = _MISSING.search(text)
        if missing:
            field = missing[1] if field == "body" else f"{field}.{missing[1]}"
            return InvalidBody(field, f"{field} is missing")
        got = _GOT.search(text)
        return InvalidBody.wrong(field, _KINDS.get(got[1], got[1]) if got else "")
    if isinstance(error, RecursionError):
        return InvalidBody("body", "the body is nested too deeply")
    if isinstance(error, UnicodeDecodeError):
        return InvalidBody("body", "the body is not UTF-8 text")
    return InvalidBody("body", f"the body is not JSON: {text}")
