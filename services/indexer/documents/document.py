"""A document before and after its extraction, the limits of one, and the refusal."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

__all__ = [
    "EXTRACTION_VERSION",
    "DocumentLimits",
    "DocumentRefused",
    "Extracted",
    "ExtractionUnavailable",
    "Format",
    "Heading",
    "RefusalKind",
    "Source",
]

EXTRACTION_VERSION: Final = 1
"""Raised with every change after which the same bytes give another text."""

Format = Literal["text", "markdown", "html", "pdf", "code", "json", "json_lines", "csv"]
RefusalKind = Literal["too_large", "too_slow", "too_much_memory", "encrypted", "broken", "binary", "no_text"]


class Source(Struct, frozen=True):
    data: bytes | str
    """As received. Text is not decoded again, and may be anything but a PDF."""
    media_type: str = ""
    """As declared, parameters included; empty or wrong is allowed."""
    name: str = ""
    """A file name, path or address, for the extension and as the last choice of a title."""
    title: str = ""
    """Goes before the title that the document has itself."""


class Heading(Struct, frozen=True):
    start: int
    """In the text."""
    level: int
    """A heading is below the last one before it that has a smaller level."""
    title: str


class Extracted(Struct, frozen=True):
    text: str
    """Lines end with a line feed; no other control characters than tabs, no lone surrogates."""
    title: str = ""
    format: Format = "text"
    """As which the document was read. The text of HTML is Markdown, that of JSON is lines of keys and values."""
    language: str = ""
    """Of source code, for example `python`."""
    pages: tuple[int, ...] = ()
    """Where each page of a PDF begins in the text."""
    headings: tuple[Heading, ...] = ()
    """Those that are not in the text itself, as they are in Markdown: the outline of a PDF, in order; the first row of
    a table above all the others.
    """


class DocumentLimits(Struct, frozen=True):
    """What one document may cost. Each has a refusal that names it."""

    document_bytes: int = 64 * 1024 * 1024
    characters: int = 20_000_000
    """Of the extracted text."""
    pages: int = 5_000
    time_s: float = 60.0
    """Of wall clock, and of processor time in the child."""
    memory_bytes: int = 1024 * 1024 * 1024
    """Address space of a child process (RLIMIT_AS), its interpreter and libraries included: about 100 MB."""


class DocumentRefused(Exception):
    """The document cannot be indexed; the same bytes will be refused again."""

    def __init__(self, kind: RefusalKind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        """For the sender of the document: a clause without a capital letter and full stop."""


class ExtractionUnavailable(Exception):
    """This machine cannot read the document now; nothing is known about the document."""
