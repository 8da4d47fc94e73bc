"""The text of a PDF, page by page. Runs in a child process only: a hostile file can take any time and memory."""

from __future__ import annotations

import importlib
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

from services.indexer.documents.decoding import clean
from services.indexer.documents.document import DocumentLimits, DocumentRefused, Extracted, Heading

__all__ = ["read_pdf"]

_TITLE_CHARACTERS: Final = 300
_MOST_HEADINGS: Final = 10_000
_HYPHEN: Final = re.compile(r"(?<=[^\W\d_])-\n(?=[^\W\d_A-ZА-Я])")
"""A word that was divided at the end of a line."""
_BLANKS: Final = re.compile(r"[ \t]+(?=\n|\Z)|(?<=\n)\n+(?=\n)")
_PAGE_BREAK: Final = "\n\n"


def read_pdf(data: bytes, limits: DocumentLimits) -> Extracted:
    """Raises DocumentRefused, or MemoryError."""
    pypdf: Any = importlib.import_module("pypdf")
    errors: Any = importlib.import_module("pypdf.errors")
    try:
        return _read(pypdf.PdfReader(io.BytesIO(data)), limits)
    except (DocumentRefused, MemoryError):
        raise
    except errors.FileNotDecryptedError as error:
        raise DocumentRefused("encrypted", "the PDF is encrypted and needs a password") from error
    except errors.DependencyError as error:
        raise DocumentRefused(
            "encrypted", "the PDF is encrypted by a method that is not supported"
        ) from error
    except errors.LimitReachedError as error:
        raise DocumentRefused("too_large", f"the PDF exceeds a limit: {str(error)[:200]}") from error
    except RecursionError as error:
        raise DocumentRefused("broken", "the PDF is nested too deep, or refers to itself") from error
    except Exception as error:
        # pypdf documents that broken files cause any exception.
        raise DocumentRefused("broken", f"the PDF is broken: {_described(error)}") from error


def _read(reader: Any, limits: DocumentLimits) -> Extracted:
    if reader.is_encrypted and not reader.decrypt(""):
        raise DocumentRefused("encrypted", "the PDF is encrypted and needs a password")
    count = len(reader.pages)
    if count > limits.pages:
        raise DocumentRefused("too_large", f"the PDF has {count:,} pages, more than {limits.pages:,}")
    parts: list[str] = []
    starts: list[int] = []
    length = 0
    for text in _pages(reader):
        starts.append(length)
        parts.append(text)
        length += len(text) + len(_PAGE_BREAK)
        if length > limits.characters:
            raise DocumentRefused("too_large", f"its text has more than {limits.characters:,} characters")
    if not any(parts):
        pages = "its page" if count == 1 else f"any of its {count:,} pages"
        raise DocumentRefused("no_text", f"the PDF has no text on {pages}: if it was scanned, run OCR first")
    text = _PAGE_BREAK.join(parts)
    return Extracted(
        text, _title(reader), "pdf", pages=tuple(starts), headings=_headings(reader, text, starts)
    )


def _pages(reader: Any) -> Iterator[str]:
    """A page that cannot be read is empty, unless it is the only kind of page there is."""
    failure: Exception | None = None
    readable = False
    limit_reached: type[Exception] = importlib.import_module("pypdf.errors").LimitReachedError
    for page in reader.pages:
        try:
            text = clean(page.extract_text() or "")
        except (MemoryError, RecursionError, limit_reached, DocumentRefused):
            raise
        except Exception as error:  # noqa: BLE001 - pypdf documents that broken files cause any exception
            failure = error
            yield ""
            continue
        readable = True
        yield _BLANKS.sub("", _HYPHEN.sub("", text)).strip()
    if failure is not None and not readable:
        raise failure


def _title(reader: Any) -> str:
    with suppress(Exception):  # a broken title is no reason to refuse the text
        return _one_line(str(reader.metadata.title or ""))
    return ""


def _headings(reader: Any, text: str, starts: Sequence[int]) -> tuple[Heading, ...]:
    """The entries of the outline, each where its title stands on its page, or else at the beginning of the page."""
    found: list[Heading] = []
    with suppress(Exception):  # a broken outline is no reason to refuse the text
        for level, entry in _entries(reader.outline):
            page = reader.get_destination_page_number(entry)
            title = _one_line(str(entry.title or ""))
            if title and page is not None and 0 <= page < len(starts):
                end = starts[page + 1] if page + 1 < len(starts) else len(text)
                place = text.find(title, starts[page], end)
                found.append(Heading(starts[page] if place < 0 else place, level, title))
            if len(found) == _MOST_HEADINGS:
                break
    return tuple(sorted(found, key=lambda heading: heading.start))


def _entries(outline: list[Any]) -> Iterator[tuple[int, Any]]:
    """Of the nested lists, each with its level."""
    waiting = [(1, iter(outline))]
    while waiting:
        level, entries = waiting[-1]
        entry = next(entries, None)
        if entry is None:
            waiting.pop()
        elif isinstance(entry, list):
            waiting.append((level + 1, iter(entry)))
        else:
            yield level, entry


def _one_line(text: str) -> str:
    return " ".join(clean(text).split())[:_TITLE_CHARACTERS]


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}".removesuffix(": ")
