"""Bytes to text: byte order mark, UTF-8, the declared encoding, and only then a guess."""

from __future__ import annotations

import codecs
import importlib
import re
from typing import Any, Final

from services.indexer.documents.document import DocumentRefused

__all__ = ["clean", "decode", "without_surrogates"]

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins with the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_USUAL: Final = ["cp1251", "cp1254", "koi8_r"]
"""Asked first: without them, short Russian and Turkish texts are taken for other encodings. Text in other languages
fits them badly, and is then compared with all encodings that are known. UTF-8 and UTF-16 are not guessed.
"""
_GOOD_CHAOS: Final = 0.05
"""charset-normalizer's measure for how unlikely a text is; above it, other encodings are compared."""
_SAMPLE_BYTES: Final = 32 * 1024
_MOST_BROKEN: Final = 0.1
"""Share of the characters outside ASCII that may be invalid in what is read nevertheless."""
_FEW_BROKEN: Final = 16
"""This many invalid or control characters make no text binary, however short it is."""
_META: Final = re.compile(
    rb"<meta[^>]{1,200}charset\s*=\s*[\"']?([\w.:-]{1,40})|<\?xml[^>]{1,100}encoding\s*=\s*[\"']([\w.:-]{1,40})",
    re.IGNORECASE,
)
_BEYOND_ASCII: Final = re.compile(rb"[\x80-\xff]")
_NEW_LINES: Final = re.compile(r"\r\n?|[\x0b\x0c]")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ufeff]")
_SURROGATES: Final = re.compile(r"[\ud800-\udfff]")


def decode(data: bytes, declared: str = "") -> str:
    """Raises DocumentRefused for what is not text. `declared` is the charset of the media type, if any."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _decoded(data, encoding)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    almost = data.decode("utf-8", "replace")
    if _is_slightly_broken(almost):
        return almost
    return _decoded(data, _known(declared) or _known(_declared_inside(data)) or _guessed(data))


def clean(text: str) -> str:
    """One kind of line end; no control characters, which databases and models reject. Raises DocumentRefused where
    they are so many that it is not text.
    """
    text = _NEW_LINES.sub("\n", text)
    text, controls = _CONTROLS.subn("", text)
    if controls > max(_FEW_BROKEN, len(text) * _MOST_BROKEN):
        raise DocumentRefused(
            "binary", "it is binary data: too many of its characters are control characters"
        )
    return without_surrogates(text)


def without_surrogates(text: str) -> str:
    """Halves of characters, which JSON can name and no encoding has."""
    return _SURROGATES.sub("\ufffd", text)


def _is_slightly_broken(text: str) -> bool:
    """UTF-8 with some invalid bytes, and not another encoding: nearly all characters outside ASCII are valid."""
    broken = text.count("\ufffd")
    beyond_ascii = len(text) - len(text.encode("ascii", "ignore"))
    return broken <= beyond_ascii * _MOST_BROKEN


def _decoded(data: bytes, encoding: str) -> str:
    text = data.decode(encoding, "replace")
    if text.count("\ufffd") > max(_FEW_BROKEN, len(text) * _MOST_BROKEN):
        raise DocumentRefused(
            "binary", f"it is binary data or broken text: much of it is invalid in {encoding}"
        )
    return text


def _known(encoding: str) -> str:
    """The codec of a declared encoding; empty: there is none, or it says no more than UTF-8, which was tried."""
    try:
        info = codecs.lookup(encoding)
        is_text = isinstance(b"a".decode(info.name), str)
    except (LookupError, ValueError, TypeError, AttributeError):
        return ""
    return info.name if is_text and not info.name.startswith(("utf", "ascii")) else ""


def _declared_inside(data: bytes) -> str:
    found = _META.search(data[:_SAMPLE_BYTES])
    return "" if found is None else (found[1] or found[2]).decode("ascii", "replace")


def _guessed(data: bytes) -> str:
    charset_normalizer: Any = importlib.import_module("charset_normalizer")
    sample = _sample(data)
    found = charset_normalizer.from_bytes(sample, cp_isolation=_USUAL).best()
    if found is None or found.chaos > _GOOD_CHAOS:
        found = charset_normalizer.from_bytes(sample).best() or found
    if found is None:
        raise DocumentRefused("binary", "it is binary data, or text in an unknown encoding")
    return str(found.encoding)


def _sample(data: bytes) -> bytes:
    """Whole lines from the first one with a byte outside ASCII, so that no character is divided."""
    first = _BEYOND_ASCII.search(data)
    place = 0 if first is None else first.start()
    begin = data.rfind(b"\n", max(0, place - _SAMPLE_BYTES // 2), place) + 1
    window = data[begin : begin + _SAMPLE_BYTES]
    return window[: window.rfind(b"\n") + 1 or None]
