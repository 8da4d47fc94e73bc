"""The format of a document: its content where that is certain, then the declared media type, the extension, and signs
in the content. A declaration that the content contradicts is ignored.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from services.indexer.documents.binary import binary_kind
from services.indexer.documents.document import DocumentRefused, Format, Source
from services.indexer.documents.labels import Label, label_of_media_type, label_of_name

__all__ = ["Detected", "detect"]

_HEAD: Final = 4_096
"""Bytes or characters of the content that are looked at."""
_MEDIA_TYPE: Final = 200
"""Characters of a declaration that are read."""
_PDF_HEAD: Final = 1_024
"""A PDF may have this many bytes before its header (ISO 32000-1, annex H.3.4.1)."""
_PDF_HEADER: Final = re.compile(rb"%PDF-\d")
_HTML: Final = re.compile(
    r"(?:<\?xml[^>]{0,200}\?>\s*)?(?:<!--(?:(?!-->).){0,2000}-->\s*)?<(?:!doctype\s+html|html|head|body)\b",
    re.IGNORECASE | re.DOTALL,
)
_TAG: Final = re.compile(r"<[a-zA-Z!/]")
_HEADING: Final = re.compile(r"^#{1,6} \S.*\n(?:\n|\Z)", re.MULTILINE)
_MARKDOWN_SIGN: Final = re.compile(r"\]\([^()\s]+\)|^```|^[-*] \S|\*\*\S", re.MULTILINE)


class Detected(Struct, frozen=True):
    format: Format
    language: str = ""
    charset: str = ""
    """As declared with the media type."""


def detect(source: Source) -> Detected:
    """Raises DocumentRefused for data that is no document of a known format."""
    media_type, charset = _media_type(source.media_type)
    declared, named = label_of_media_type(media_type), label_of_name(source.name)
    if isinstance(source.data, bytes):
        if _is_pdf(source.data, declared, named):
            return Detected("pdf")
        if kind := binary_kind(source.data):
            raise DocumentRefused("binary", f"it is {kind}, from which no text can be read")
    head = _head(source.data)
    for label in (declared, named):
        if label is not None and label.format != "text" and _agrees(label, head):
            return Detected(label.format, label.language, charset)
    return Detected(_format_of_content(head), "", charset)


def _is_pdf(data: bytes, *labels: Label | None) -> bool:
    """Text may speak of PDF headers: one that is not at the very beginning counts only in what is called a PDF."""
    head = data[:_PDF_HEAD]
    if _PDF_HEADER.match(head.lstrip(b"\xef\xbb\xbf \t\r\n\x00")):
        return True
    named_so = any(label is not None and label.format == "pdf" for label in labels)
    return named_so and _PDF_HEADER.search(head) is not None


def _media_type(declared: str) -> tuple[str, str]:
    kind, _, parameters = declared[:_MEDIA_TYPE].partition(";")
    charset = re.search(r"charset\s*=\s*[\"']?([\w.:-]{1,40})", parameters, re.IGNORECASE)
    return kind.strip().lower(), "" if charset is None else charset[1].lower()


def _head(data: bytes | str) -> str:
    """The beginning, in which at least the ASCII characters are right."""
    if isinstance(data, str):
        return data[:_HEAD].lstrip("\ufeff \t\r\n")
    head = data[:_HEAD]
    utf_16 = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = head.decode("utf-16" if utf_16 else "utf-8", "replace")
    return text.lstrip("\ufeff \t\r\n").replace("\r\n", "\n")


def _agrees(label: Label, head: str) -> bool:
    if label.format == "pdf":
        return False  # what has the header of a PDF was found before
    if label.format == "html":
        return not head or _TAG.search(head) is not None
    if label.format in {"json", "json_lines"}:
        return not head.startswith("<")
    return label.format in {"markdown", "code"} or _HTML.match(head) is None


def _format_of_content(head: str) -> Format:
    if _HTML.match(head):
        return "html"
    if head.startswith(("{", "[")):
        return "json"  # read as text if it is none
    headings = len(_HEADING.findall(head))
    if headings >= 2 or (headings and _MARKDOWN_SIGN.search(head)):
        return "markdown"
    return "text"
