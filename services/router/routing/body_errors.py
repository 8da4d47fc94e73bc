"""What is wrong with a body, in a sentence for the person who wrote it."""

from __future__ import annotations

import re
from typing import Final

import msgspec

__all__ = ["BodyRefused", "explain"]

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
_WANTED: Final = {
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


class BodyRefused(ValueError):
    """The body cannot be sent to any model. `field` is the path within it; `problem` is a whole sentence."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(problem)
        self.field = field
        self.problem = problem

    @classmethod
    def wrong(cls, field: str, got: str = "") -> BodyRefused:
        """The refusal of a value at `field` that is not what stands there; `got` names what it is."""
        wanted = _WANTED.get(_INDEX.sub("[]", field), "something else")
        subject = "the body" if field == "body" else field
        return cls(field, f"{subject} must be {wanted}" + (f", not {got}" if got else ""))


def explain(error: Exception) -> BodyRefused:
    """The refusal that says what a decoder's `error` means.

    Reads the text of msgspec's ValidationError, the only place where it keeps the path.
    """
    text = str(error)
    if isinstance(error, msgspec.ValidationError):
        path = _PATH.search(text)
        field = path[1] if path else "body"
        missing = _MISSING.search(text)
        if missing:
            field = missing[1] if field == "body" else f"{field}.{missing[1]}"
            return BodyRefused(field, f"{field} is missing")
        got = _GOT.search(text)
        return BodyRefused.wrong(field, _KINDS.get(got[1], got[1]) if got else "")
    if isinstance(error, RecursionError):
        return BodyRefused("body", "the body is nested too deeply")
    if isinstance(error, UnicodeDecodeError):
        return BodyRefused("body", "the body is not UTF-8 text")
    return BodyRefused("body", f"the body is not JSON: {text}")
