"""The body of an HTTP error as a value: JSON, JSON within an event stream, JSON that was cut off, HTML, or text."""

from __future__ import annotations

import json
import re
import zlib
from html import unescape
from typing import Final

__all__ = ["HTML", "Salvaged", "body_value", "json_within", "printable", "without_markup"]

_decoder: Final = json.JSONDecoder(strict=False)
"""The standard library's: unlike msgspec it reads lone surrogates, line breaks within strings, NaN."""
_MOST_BYTES: Final = 64 * 1024
_PAGE_CHARACTERS: Final = 16 * 1024
"""Of a web page; its title stands near the beginning."""
_GZIP: Final = b"\x1f\x8b"
_GARBLED: Final = 8
"""A text of which one character in so many cannot be read is none."""
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


class HTML(str):  # noqa: SLOT000 - one per error page
    """The readable beginning of a web page: it is no word of an API."""


class Salvaged(dict[str, object]):
    """What could be read of JSON that was cut off. Some of it may be what the provider repeats of the request."""


def body_value(body: bytes) -> object:
    """What a body says: a decoded JSON value, or text (`HTML` where it was a web page). Never raises."""
    text = _unpacked(body)[:_MOST_BYTES].decode(errors="replace").lstrip("\ufeff \t\r\n")
    if text.count("\ufffd") * _GARBLED > len(text):
        return ""
    if _LOOKS_LIKE_HTML.match(text):
        return HTML(_page(text))
    if text.startswith(("data:", "event:", ":")):
        found = next((line for line in _DATA.findall(text) if line.strip() not in {"", "[DONE]"}), "")
        text = found.strip()
    if not text.startswith(("{", "[", '"')):
        return text
    try:
        return _decoder.raw_decode(text)[0]
    except (ValueError, RecursionError):
        return _salvaged(text) or text


def without_markup(text: str) -> str:
    """The text, or the readable beginning of the web page that it is."""
    return _page(text) if _LOOKS_LIKE_HTML.match(text) else text


def json_within(text: str) -> tuple[str, object] | None:
    """The words before a JSON object or list that stands in a message, and its value; None where there is none."""
    start = text.find("{")
    if start < 0:
        return None
    if start and text[:start].rstrip().endswith("["):
        start = text[:start].rindex("[")
    try:
        value, _ = _decoder.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return text[:start].strip(" :-\t\r\n"), value


def printable(text: str, most: int) -> str:
    """On one line, without what cannot be printed or encoded, and at most `most` characters."""
    spaced = " ".join(text[: 4 * most].split())
    if not spaced.isprintable():
        spaced = "".join(_shown(character) for character in spaced)
        spaced = " ".join(spaced.split())
    return spaced[:most].rstrip()


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return "\ufffd" if "\ud800" <= character <= "\udfff" else " "


def _unpacked(body: bytes) -> bytes:
    """An error may be compressed although that was not asked for."""
    if not body.startswith(_GZIP):
        return body
    try:
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(body, _MOST_BYTES)
    except zlib.error:
        return b""


def _page(text: str) -> str:
    """The title of a page, or else its first words."""
    text = text[:_PAGE_CHARACTERS]
    titled = _TITLE.search(text)
    words = titled[2] if titled else _INVISIBLE.sub(" ", text)
    return " ".join(unescape(_TAG.sub(" ", words)).split())[:300]


def _salvaged(text: str) -> Salvaged:
    """The first value of each telling field of a JSON text that ends too early: many a validation error repeats the
    request it refuses.
    """
    found = Salvaged()
    for name, value in _FIELD.findall(text):
        if name not in found:
            try:
                found[name] = _decoder.decode(value)
            except ValueError:
                continue
    return found
