"""Gathers what an error says from a JSON value of whatever shape: messages, codes, the parameter, the wait."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct, field

from services.worker.providers.errors.bodies import json_within, without_markup

__all__ = ["Facts", "gather"]

_DEEPEST: Final = 8
_MOST_NODES: Final = 200
_MOST_ITEMS: Final = 16
_MOST_WORDS: Final = 32
_MOST_MESSAGES: Final = 4
_MOST_CHARACTERS: Final = 8_000

_MESSAGES: Final = frozenset(
    {"message", "msg", "errormessage", "errormsg", "errordescription", "title", "statusmsg"}
)
_WHOLE: Final = "raw"
"""OpenRouter's: the error of the provider behind it, as it came."""
_OF_A_REQUEST: Final = frozenset({"role", "messages", "content"})
"""Keys of what was sent: an object that has one is repeated by the provider, and no error."""
_NESTED: Final = frozenset(
    {
        "error",
        "errors",
        "detail",
        "details",
        "innererror",
        "raw",
        "exception",
        "cause",
        "metadata",
        "baseresp",
    }
)
_CODES: Final = frozenset({"code", "errorcode", "statuscode", "httpstatus", "httpcode", "status"})
_TYPES: Final = frozenset({"type", "errortype"})
_MARKS: Final = frozenset(
    {"reasons", "flaggedinput", "contentfilterresult", "contentfilterresults", "contentfilter"}
)
"""Fields of a moderation error (OpenRouter's, Azure's), which say by being there what was refused."""
_DELAYS: Final = frozenset({"retrydelay", "retryafter", "retryafterseconds"})
_NO_WORDS: Final = frozenset({"", "error", "fail", "failed", "none", "null", "false", "true"})
_QUOTED_CODE: Final = re.compile(r"'(?:code|type)': '(\w{1,64})'")
_OF_AN_ERROR: Final = frozenset({"error", "errors", "message", "msg", "detail"})


class Facts(Struct):
    """What was gathered, outermost first."""

    messages: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    own: list[str] = field(default_factory=list)
    """The words and numbers that stand in fields of the error, not in JSON within a message: no request can put them
    there."""
    quoted: int = 0
    """Above 0: what is walked through stands within a message."""
    codes: list[str] = field(default_factory=list)
    type: str | None = None
    parameter: str | None = None
    field_code: str | None = None
    field_type: str | None = None
    field_parameter: str | None = None
    """The first of each outside of a message and of what the error repeats of the request."""
    provider: str | None = None
    """The provider behind a router of providers."""
    delays: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    nodes: int = 0

    def message(self) -> str:
        """All messages that say something of their own."""
        told: list[str] = []
        for message in self.messages:
            if not any(message in other for other in told):
                told.append(message)
        words = "; ".join(told[:_MOST_MESSAGES])
        return f"{words} ({self.provider})" if words and self.provider else words

    def code(self) -> str | None:
        """A word says more than a number."""
        return next((code for code in self.codes if not code.isdecimal()), next(iter(self.codes), None))

    def word(self, text: str) -> None:
        text = text.rpartition("#")[2].strip()  # Bedrock's `com.amazon.coral.service#ValidationException`
        if text.lower() not in _NO_WORDS and len(self.words) < _MOST_WORDS:
            self.words.append(text)
            if not self.quoted:
                self.own.append(text)


def gather(value: object, facts: Facts, depth: int = 0) -> None:
    """Walk through the value, bounded in depth and size. Never raises."""
    facts.nodes += 1
    if depth > _DEEPEST or facts.nodes > _MOST_NODES:
        return
    if isinstance(value, str):
        _message(value, facts, depth)
    elif isinstance(value, list):
        for item in value[:_MOST_ITEMS]:
            gather(item, facts, depth + 1)
    elif isinstance(value, dict):
        _object(value, facts, depth)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        _code(value, facts)


def _object(value: dict[object, object], facts: Facts, depth: int) -> None:
    """What the object says itself goes before what it wraps."""
    fields = [(_plain(key), entry) for key, entry in list(value.items())[:64] if entry is not None]
    where = _location(value.get("loc"), facts)
    for name, entry in fields:
        _note(name, entry, facts)
        if name in _MESSAGES and isinstance(entry, str):
            _message(where + entry, facts, depth)
    for name, entry in fields:
        nested = isinstance(entry, dict | list)
        if (name in _NESTED and (nested or isinstance(entry, str))) or (name in _MESSAGES and nested):
            _nested(name, entry, facts, depth)
        elif name == "headers" and isinstance(entry, dict):
            facts.headers |= {str(key): str(text)[:100] for key, text in list(entry.items())[:32]}


def _nested(name: str, entry: object, facts: Facts, depth: int) -> None:
    if name == _WHOLE and isinstance(entry, str) and entry.lstrip().startswith(("{", "[")):
        found = json_within(entry[: 8 * _MOST_CHARACTERS])
        if found is not None and not found[0] and _is_error(found[1]):
            gather(found[1], facts, depth + 1)
            return
    if name == "body":
        _quoted(entry, facts, depth)
    else:
        gather(entry, facts, depth + 1)


def _note(name: str, entry: object, facts: Facts) -> None:
    """One field of an error."""
    if name == "status" and isinstance(entry, str) and " " in entry:
        facts.word(entry[:128])  # `Bad Request` beside a code of 400 is no code
    elif name in _CODES:
        _code(entry, facts)
    elif name in _MARKS:
        if entry:
            facts.words.append(name)
    elif isinstance(entry, int | float) and name in _DELAYS:
        facts.delays.append(str(entry))
    elif isinstance(entry, str) and entry:
        _note_text(name, entry[:_MOST_CHARACTERS], facts)


def _note_text(name: str, text: str, facts: Facts) -> None:
    if name in _TYPES:
        facts.word(text)
        if text.lower() not in _NO_WORDS:
            facts.type = facts.type or text
            if not facts.quoted:
                facts.field_type = facts.field_type or text
    elif name == "reason":
        facts.word(text)
    elif name in {"param", "parameter"}:
        _parameter(text, facts)
    elif name in _DELAYS:
        facts.delays.append(text)
    elif name == "providername":
        facts.provider = facts.provider or text[:64]


def _code(entry: object, facts: Facts) -> None:
    if isinstance(entry, bool) or not isinstance(entry, str | int | float):
        return
    text = str(int(entry)) if isinstance(entry, float) and entry.is_integer() else str(entry)
    text = text[:128].strip()
    if text.lower() in _NO_WORDS or text == "0":
        return
    facts.codes.append(text)
    if text.isascii() and text.isdecimal() and 100 <= int(text) <= 599:
        facts.numbers.append(int(text))
        if not facts.quoted:
            facts.own.append(text)
    else:
        facts.word(text)
        if not facts.quoted:
            facts.field_code = facts.field_code or text


def _parameter(path: str, facts: Facts) -> None:
    facts.parameter = facts.parameter or path or None
    if not facts.quoted:
        facts.field_parameter = facts.field_parameter or path or None


def _quoted(value: object, facts: Facts, depth: int) -> None:
    facts.quoted += 1
    gather(value, facts, depth + 1)
    facts.quoted -= 1


def _message(text: str, facts: Facts, depth: int) -> None:
    """A message, or the error that is written out within it as JSON."""
    text = without_markup(text[: 8 * _MOST_CHARACTERS])
    found = json_within(text)
    if found is not None and _is_error(found[1]):
        words, value = found
        before = len(facts.messages)
        if words:
            facts.messages.append(words)
        _quoted(value, facts, depth)
        if len(facts.messages) > before:
            return
    if text.strip():
        facts.messages.append(" ".join(text[:_MOST_CHARACTERS].split()))
        if "{'" in text:
            facts.quoted += 1
            for word in _QUOTED_CODE.findall(text)[:4]:
                facts.word(word)
            facts.quoted -= 1


def _is_error(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and _is_error(value[0])
    return isinstance(value, dict) and bool(_OF_AN_ERROR & value.keys()) and not _OF_A_REQUEST & value.keys()


def _location(loc: object, facts: Facts) -> str:
    """Where in the request a validation error is: pydantic's `["body", "max_tokens"]`."""
    if not isinstance(loc, list) or not all(isinstance(part, str | int) for part in loc):
        return ""
    path = ".".join(str(part) for part in loc[:_MOST_ITEMS] if part != "body")[:200]
    _parameter(path, facts)
    return f"{path}: " if path else ""


def _plain(key: object) -> str:
    return str(key)[:64].lower().replace("_", "").replace("-", "")
