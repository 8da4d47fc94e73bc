"""Records to text. JSON and JSON lines: one paragraph a record, one line a value, with the path of its keys. Tables
stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from services.indexer.documents.document import DocumentLimits, DocumentRefused, Extracted, Heading

__all__ = ["read_json", "read_json_lines", "read_table"]

_decode: Final = msgspec.json.Decoder().decode
_KEY_CHARACTERS: Final = 200
"""Of the path of a value; the rest is left out at its beginning."""


def read_json(text: str, limits: DocumentLimits) -> Extracted | None:
    """A list at the top is a list of records. None: it is not JSON."""
    try:
        value = _decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    records = value if isinstance(value, list) else [value]
    return Extracted(_joined(map(_record, records), limits), format="json")


def read_json_lines(text: str, limits: DocumentLimits) -> Extracted | None:
    """A line that is not JSON stays as it is. None: not even the first one is an object or a list."""
    lines = (line for line in text.split("\n") if line and not line.isspace())
    first = next(lines, None)
    if first is None or not isinstance(_decoded(first), dict | list):
        return None

    def paragraphs() -> Iterator[str]:
        yield _record(_decoded(first))
        for line in lines:
            yield _record(_decoded(line))

    return Extracted(_joined(paragraphs(), limits), format="json_lines")


def read_table(text: str) -> Extracted:
    """With its first row, which names the columns, as a heading of all rows."""
    columns = " ".join(text[:_KEY_CHARACTERS].strip().partition("\n")[0].split())
    return Extracted(text, format="csv", headings=(Heading(0, 1, columns),) if columns else ())


def _decoded(line: str) -> Any:
    try:
        return _decode(line)
    except (msgspec.DecodeError, RecursionError):
        return line


def _joined(paragraphs: Iterator[str], limits: DocumentLimits) -> str:
    parts: list[str] = []
    length = 0
    for paragraph in paragraphs:
        length += len(paragraph) + 2
        if length > limits.characters:
            raise DocumentRefused("too_large", f"its text has more than {limits.characters:,} characters")
        if paragraph:
            parts.append(paragraph)
    return "\n\n".join(parts)


def _record(value: Any) -> str:
    return "\n".join(_lines(value))


def _lines(value: Any) -> Iterator[str]:
    """Without recursion: a record may be nested as deep as the decoder allows."""
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        path, each = waiting.pop()
        if isinstance(each, dict):
            waiting.extend(reversed([(_path(path, key), inner) for key, inner in each.items()]))
        elif isinstance(each, list) and any(isinstance(inner, dict | list) for inner in each):
            waiting.extend(reversed([(path, inner) for inner in each]))
        elif shown := _value(each):
            yield f"{path}: {shown}" if path else shown


def _path(path: str, key: str) -> str:
    key = " ".join(key.split())
    return (f"{path}.{key}" if path else key)[-_KEY_CHARACTERS:]


def _value(value: Any) -> str:
    """No empty lines, which separate records."""
    if isinstance(value, list):
        return ", ".join(filter(None, map(_value, value)))
    if isinstance(value, str):
        return "\n".join(filter(str.strip, value.splitlines()))
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
