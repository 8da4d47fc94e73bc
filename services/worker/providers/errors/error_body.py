"""Decodes the body of an HTTP error (JSON, an event stream, truncated JSON, HTML or text), and collects the messages,
codes, parameter and delays from a JSON value of any shape.
"""

from __future__ import annotations

import json
import re
import zlib
from html import unescape
from typing import Final

from msgspec import Struct, field

__all__ = ["ErrorFields", "HtmlText", "TruncatedJson", "decode_body", "single_line"]

_decoder: Final = json.JSONDecoder(strict=False)
"""The standard library's: unlike msgspec it reads lone surrogates, line breaks within strings, NaN."""
_MAX_BYTES: Final = 64 * 1024
_MAX_HTML_CHARACTERS: Final = 16 * 1024
"""Characters of a web page that are read; its title is near the beginning."""
_GZIP: Final = b"\x1f\x8b"
_UNREADABLE_RATIO: Final = 8
"""A text is discarded when more than one character in this number cannot be decoded."""
_TITLE: Final = re.compile(r"<(title|h1)\b[^<>]{0,200}>(.{1,300}?)</\1", re.IGNORECASE | re.DOTALL)
_INVISIBLE: Final = re.compile(r"<(script|style|head)\b.*?(?:</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL)
_TAG: Final = re.compile(r"<[^>]{0,1000}>?")
_LOOKS_LIKE_HTML: Final = re.compile(
    r"\s*(?:<!--.{0,500}?-->\s*)?<(?:!doctype|html|head|body|h1|center|\?xml)", re.IGNORECASE | re.DOTALL
)
_DATA: Final = re.compile(r"^data:(.*)$", re.MULTILINE)
_FIELD: Final = re.compile(
    r'"(message|msg|detail|error|code|type|status|param|reason)"\s*:\s*("(?:[^"\\]|\\.){0,2000}"|\d{1,6})'
)

_MAX_DEPTH: Final = 8
_MAX_NODES: Final = 200
_MAX_ITEMS: Final = 16
_MAX_CODES: Final = 32
_MAX_MESSAGES: Final = 4
_MAX_MESSAGE_CHARACTERS: Final = 8_000

_MESSAGE_KEYS: Final = frozenset(
    {"message", "msg", "errormessage", "errormsg", "errordescription", "title", "statusmsg"}
)
_RAW_KEY: Final = "raw"
"""Key under which OpenRouter passes on the unchanged error of the provider behind it."""
_REQUEST_KEYS: Final = frozenset({"role", "messages", "content"})
"""Keys of a request: an object that has one is an echo of the request, not an error."""
_NESTED_KEYS: Final = frozenset(
    {"error", "errors", "detail", "details", "innererror", "raw", "exception", "cause"}
    | {"metadata", "baseresp"}
)
_CODE_KEYS: Final = frozenset({"code", "errorcode", "statuscode", "httpstatus", "httpcode", "status"})
_TYPE_KEYS: Final = frozenset({"type", "errortype"})
_MODERATION_KEYS: Final = frozenset(
    {"reasons", "flaggedinput", "contentfilterresult", "contentfilterresults", "contentfilter"}
)
"""Keys of a moderation error (OpenRouter's, Azure's): their presence alone identifies it."""
_DELAY_KEYS: Final = frozenset({"retrydelay", "retryafter", "retryafterseconds"})
_EMPTY_CODES: Final = frozenset({"", "error", "fail", "failed", "none", "null", "false", "true"})
_PYTHON_CODE: Final = re.compile(r"'(?:code|type)': '(\w{1,64})'")
"""A code within a Python dict that was formatted into a message."""
_SEPARATORS: Final = " :-\t\r\n"
"""Characters between a message and JSON within it."""
_ERROR_KEYS: Final = frozenset({"error", "errors", "message", "msg", "detail"})


class HtmlText(str):  # noqa: SLOT000 - one per error page
    """The readable beginning of a web page. A proxy wrote it, not the provider's API."""


class TruncatedJson(dict[str, object]):
    """The fields that could be read of truncated JSON. Some may be an echo of the request."""


class ErrorFields(Struct):
    """The collected fields of an error, outermost first."""

    messages: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    """Codes, types, statuses and reasons that are not numbers."""
    statuses: list[int] = field(default_factory=list)
    trusted_codes: list[str] = field(default_factory=list)
    """The codes and statuses from fields of the error, not from JSON within a message: a request cannot write them."""
    embedded: int = 0
    """Above 0 while a value within a message is walked."""
    code_fields: list[str] = field(default_factory=list)
    """Values of code fields, numbers included."""
    type: str | None = None
    parameter: str | None = None
    trusted_code: str | None = None
    trusted_type: str | None = None
    trusted_parameter: str | None = None
    """The first of each outside of messages and echoes of the request."""
    provider: str | None = None
    """The provider behind a router of providers."""
    delays: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    nodes: int = 0

    def message(self) -> str:
        """All messages that are not contained in another one."""
        distinct: list[str] = []
        for message in self.messages:
            if not any(message in other for other in distinct):
                distinct.append(message)
        text = "; ".join(distinct[:_MAX_MESSAGES])
        return f"{text} ({self.provider})" if text and self.provider else text

    def code(self) -> str | None:
        """The first code that is not a number, or else the first number."""
        return next(
            (code for code in self.code_fields if not code.isdecimal()), next(iter(self.code_fields), None)
        )

    def add_code(self, text: str) -> None:
        text = text.rpartition("#")[2].strip()  # Bedrock's `com.amazon.coral.service#ValidationException`
        if text.lower() not in _EMPTY_CODES and len(self.codes) < _MAX_CODES:
            self.codes.append(text)
            if not self.embedded:
                self.trusted_codes.append(text)

    def add_parameter(self, path: str) -> None:
        self.parameter = self.parameter or path or None
        if not self.embedded:
            self.trusted_parameter = self.trusted_parameter or path or None

    def collect(self, value: object, depth: int = 0) -> None:
        """Walk through the value, bounded in depth and size, and add its fields. Never raises."""
        self.nodes += 1
        if depth > _MAX_DEPTH or self.nodes > _MAX_NODES:
            return
        if isinstance(value, str):
            self._collect_message(value, depth)
        elif isinstance(value, list):
            for item in value[:_MAX_ITEMS]:
                self.collect(item, depth + 1)
        elif isinstance(value, dict):
            self._collect_object(value, depth)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            self._collect_code(value)

    def _collect_object(self, value: dict[object, object], depth: int) -> None:
        """Collect the object's own fields before those of nested objects."""
        entries = [(_plain(key), entry) for key, entry in list(value.items())[:64] if entry is not None]
        location = self._collect_location(value.get("loc"))
        for name, entry in entries:
            self._collect_field(name, entry)
            if name in _MESSAGE_KEYS and isinstance(entry, str):
                self._collect_message(location + entry, depth)
        for name, entry in entries:
            nested = isinstance(entry, dict | list)
            if (name in _NESTED_KEYS and (nested or isinstance(entry, str))) or (
                name in _MESSAGE_KEYS and nested
            ):
                self._collect_nested(name, entry, depth)
            elif name == "headers" and isinstance(entry, dict):
                self.headers |= {str(key): str(text)[:100] for key, text in list(entry.items())[:32]}

    def _collect_nested(self, name: str, entry: object, depth: int) -> None:
        if name == _RAW_KEY and isinstance(entry, str) and entry.lstrip().startswith(("{", "[")):
            found = _embedded_json(entry[: 8 * _MAX_MESSAGE_CHARACTERS])
            if found is not None and not found[0] and _is_error(found[1]):
                entry = found[1]
        self.collect(entry, depth + 1)

    def _collect_field(self, name: str, entry: object) -> None:
        if name == "status" and isinstance(entry, str) and " " in entry:
            self.add_code(entry[:128])  # `Bad Request` beside a code of 400 does not replace it
        elif name in _CODE_KEYS:
            self._collect_code(entry)
        elif name in _MODERATION_KEYS:
            if entry:
                self.codes.append(name)
        elif isinstance(entry, int | float) and name in _DELAY_KEYS:
            self.delays.append(str(entry))
        elif isinstance(entry, str) and entry:
            self._collect_text_field(name, entry[:_MAX_MESSAGE_CHARACTERS])

    def _collect_text_field(self, name: str, text: str) -> None:
        if name in _TYPE_KEYS:
            self.add_code(text)
            if text.lower() not in _EMPTY_CODES:
                self.type = self.type or text
                if not self.embedded:
                    self.trusted_type = self.trusted_type or text
        elif name == "reason":
            self.add_code(text)
        elif name in {"param", "parameter"}:
            self.add_parameter(text)
        elif name in _DELAY_KEYS:
            self.delays.append(text)
        elif name == "providername":
            self.provider = self.provider or text[:64]

    def _collect_code(self, entry: object) -> None:
        if isinstance(entry, bool) or not isinstance(entry, str | int | float):
            return
        text = str(int(entry)) if isinstance(entry, float) and entry.is_integer() else str(entry)
        text = text[:128].strip()
        if text.lower() in _EMPTY_CODES or text == "0":
            return
        self.code_fields.append(text)
        if text.isascii() and text.isdecimal() and 100 <= int(text) <= 599:
            self.statuses.append(int(text))
            if not self.embedded:
                self.trusted_codes.append(text)
        else:
            self.add_code(text)
            if not self.embedded:
                self.trusted_code = self.trusted_code or text

    def _collect_message(self, text: str, depth: int) -> None:
        """Collect a message, or the error that is embedded in it as JSON."""
        text = text[: 8 * _MAX_MESSAGE_CHARACTERS]
        if _LOOKS_LIKE_HTML.match(text):
            text = _page_text(text)
        found = _embedded_json(text)
        if found is not None and _is_error(found[1]):
            prefix, value = found
            before = len(self.messages)
            if prefix:
                self.messages.append(prefix)
            self.embedded += 1
            self.collect(value, depth + 1)
            self.embedded -= 1
            if len(self.messages) > before:
                return
        if text.strip():
            self.messages.append(" ".join(text[:_MAX_MESSAGE_CHARACTERS].split()))
            if "{'" in text:
                self.embedded += 1
                for code in _PYTHON_CODE.findall(text)[:4]:
                    self.add_code(code)
                self.embedded -= 1

    def _collect_location(self, loc: object) -> str:
        """Collect the parameter of a validation error, as in pydantic's `["body", "max_tokens"]`; returns a prefix."""
        if not isinstance(loc, list) or not all(isinstance(part, str | int) for part in loc):
            return ""
        path = ".".join(str(part) for part in loc[:_MAX_ITEMS] if part != "body")[:200]
        self.add_parameter(path)
        return f"{path}: " if path else ""


def decode_body(body: bytes) -> object:
    """The decoded JSON value of a body, or its text (`HtmlText` for a web page). Never raises."""
    text = _decompressed(body)[:_MAX_BYTES].decode(errors="replace").lstrip("\ufeff \t\r\n")
    if text.count("\ufffd") * _UNREADABLE_RATIO > len(text):
        return ""
    if _LOOKS_LIKE_HTML.match(text):
        return HtmlText(_page_text(text))
    if text.startswith(("data:", "event:", ":")):
        found = next((line for line in _DATA.findall(text) if line.strip() not in {"", "[DONE]"}), "")
        text = found.strip()
    if not text.startswith(("{", "[", '"')):
        return text
    try:
        return _decoder.raw_decode(text)[0]
    except (ValueError, RecursionError):
        return _truncated_json(text) or text


def single_line(text: str, max_characters: int) -> str:
    """The text on one line, without characters that cannot be printed or encoded, of bounded length."""
    line = " ".join(text[: 4 * max_characters].split())
    if not line.isprintable():
        line = "".join(_printable(character) for character in line)
        line = " ".join(line.split())
    return line[:max_characters].rstrip()


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    return "\ufffd" if "\ud800" <= character <= "\udfff" else " "


def _decompressed(body: bytes) -> bytes:
    """The body, decompressed: some providers compress errors without being asked to."""
    if not body.startswith(_GZIP):
        return body
    try:
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(body, _MAX_BYTES)
    except zlib.error:
        return b""


def _page_text(text: str) -> str:
    """The title of a web page, or else its first words."""
    text = text[:_MAX_HTML_CHARACTERS]
    title = _TITLE.search(text)
    words = title[2] if title else _INVISIBLE.sub(" ", text)
    return " ".join(unescape(_TAG.sub(" ", words)).split())[:300]


def _truncated_json(text: str) -> TruncatedJson:
    """The first value of each known field: many validation errors repeat the request, and grow too long."""
    found = TruncatedJson()
    for name, value in _FIELD.findall(text):
        if name not in found:
            try:
                found[name] = _decoder.decode(value)
            except ValueError:
                continue
    return found


def _embedded_json(text: str) -> tuple[str, object] | None:
    """The words before a JSON object or list within a message, and its decoded value; None without one.

    None also for JSON at the beginning with text after it: that is an input that a validation error repeats.
    """
    start = text.find("{")
    if start < 0:
        return None
    if start and text[:start].rstrip().endswith("["):
        start = text[:start].rindex("[")
    try:
        value, end = _decoder.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    before, after = text[:start].strip(_SEPARATORS), text[end:].strip(_SEPARATORS)
    return (before, value) if before or not after else None


def _is_error(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and _is_error(value[0])
    return isinstance(value, dict) and bool(_ERROR_KEYS & value.keys()) and not _REQUEST_KEYS & value.keys()


def _plain(key: object) -> str:
    return str(key)[:64].lower().replace("_", "").replace("-", "")
