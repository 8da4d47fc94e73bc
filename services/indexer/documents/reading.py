"""One document of a known format to its text, in the process that calls it."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from services.indexer.documents.decoding import clean, decode
from services.indexer.documents.detection import Detected
from services.indexer.documents.document import DocumentLimits, DocumentRefused, Extracted, Format, Source
from services.indexer.documents.markdown import read_markdown
from services.indexer.documents.markup import read_html
from services.indexer.documents.pdf import read_pdf
from services.indexer.documents.records import read_json, read_json_lines, read_table

__all__ = ["read"]

_TITLE_CHARACTERS: Final = 300
_ESCAPED: Final = frozenset({"html", "json", "json_lines"})
"""Formats with escapes, in which control characters may be hidden."""


def read(source: Source, detected: Detected, limits: DocumentLimits) -> Extracted:
    """Raises DocumentRefused, or MemoryError."""
    if detected.format == "pdf":
        assert isinstance(source.data, bytes)  # noqa: S101 - text is never detected as PDF
        extracted = read_pdf(source.data, limits)
    else:
        extracted = _read_text(_text(source, detected), detected, limits)
        if extracted.format in _ESCAPED:
            extracted = replace(extracted, text=clean(extracted.text))
    if len(extracted.text) > limits.characters:
        raise _too_long(limits)
    return replace(extracted, title=_title(source, extracted))


def _text(source: Source, detected: Detected) -> str:
    return clean(source.data if isinstance(source.data, str) else decode(source.data, detected.charset))


def _read_text(text: str, detected: Detected, limits: DocumentLimits) -> Extracted:
    if detected.format == "html":
        return read_html(text)
    if len(text) > limits.characters:
        raise _too_long(limits)
    if detected.format == "markdown":
        return read_markdown(text)
    if detected.format in {"json", "json_lines"}:
        return _read_records(text, detected.format, limits) or Extracted(text)
    if detected.format == "csv":
        return read_table(text)
    return Extracted(text, format=detected.format, language=detected.language)


def _read_records(text: str, declared: Format, limits: DocumentLimits) -> Extracted | None:
    """The declared one of the two formats is tried first."""
    if declared == "json":
        return read_json(text, limits) or read_json_lines(text, limits)
    return read_json_lines(text, limits) or read_json(text, limits)


def _too_long(limits: DocumentLimits) -> DocumentRefused:
    return DocumentRefused("too_large", f"its text has more than {limits.characters:,} characters")


def _title(source: Source, extracted: Extracted) -> str:
    """One line: as the sender says, as the document says, or the file's name."""
    file = source.name.rstrip("/").rpartition("/")[2]
    title = source.title or extracted.title or file
    return " ".join(clean(title[: 2 * _TITLE_CHARACTERS]).split())[:_TITLE_CHARACTERS]
